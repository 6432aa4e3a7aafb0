// @ts-check
// The only script of the agent page and of the page of a link code: shows what the server sends, sends what the agent
// presses. It keeps no token, only the page's handle, in this module's memory.

/**
 * @typedef {{ field: string, status: string, typed: number, length: number | null, words: string }} FieldData
 * @typedef {{ revision: number, phase: string, announce: string, html: Record<string, string>, fields: FieldData[] }} PageData
 * @typedef {{ outcome: string | null }} SessionData what became of the payment, once it is over
 * @typedef {{ leftMs: number | null, callGuid: string | null }} LinkData how long the code is good; the call that it tied
 */

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
/** No sign of life for this long means that the line is lost: three heartbeats. */
const SILENCE_MS = 45_000;

const handle = document.body.dataset.handle ?? "";
delete document.body.dataset.handle;
/** The origins that may embed the page; no other may hear of it. @type {string[]} */
const tells = JSON.parse(document.body.dataset.tells ?? "[]");
delete document.body.dataset.tells;
/** The session's guid of the API. The page of a link code has none. */
const sessionGuid = document.body.dataset.session;
const isLinkPage = sessionGuid === undefined;
const base = location.pathname.replace(/\/framed$/, "");

const policy = /** @type {any} */ (window).trustedTypes?.createPolicy("hushpad", {
  // The only HTML that gets here comes from our own host, rendered and escaped there.
  createHTML: (/** @type {string} */ html) => html,
});

let revision = -1;
let over = false;
let announced = "";
/** @type {Map<string, string>} */
const fieldWords = new Map();
/** @type {Map<string, string>} */
const shown = new Map();

/** @param {string} id @returns {HTMLElement} */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/** @param {string} text Empty hides the line. */
function tellLine(text) {
  const box = element("line");
  if (box.textContent !== text) box.textContent = text;
  box.hidden = text === "";
}

/** @param {PageData} page */
function show(page) {
  if (page.revision < revision) return;
  revision = page.revision;
  for (const [id, html] of Object.entries(page.html)) replace(id, html);
  announce(page);
  if (isLinkPage) showCode(page.phase, /** @type {PageData & LinkData} */ (page));
  else tellSession(page.phase, /** @type {PageData & SessionData} */ (page).outcome);
}

let goodUntil = 0;

/** @param {string} state @param {LinkData} link */
function showCode(state, { leftMs, callGuid }) {
  // By the time that passes here, whatever this computer's clock says.
  goodUntil = leftMs === null ? 0 : performance.now() + leftMs;
  countDown();
  tellEmbedder({ page: "link", state, ...(callGuid === null ? {} : { callGuid }) });
}

let toldSession = "";

/** Tells where the payment stands when that has changed: not each key, whose timing is nobody's business.
 * @param {string} state @param {string | null} outcome */
function tellSession(state, outcome) {
  const now = `${state} ${outcome}`;
  if (now === toldSession) return;
  toldSession = now;
  tellEmbedder({ page: "session", sessionGuid, state, ...(outcome === null ? {} : { outcome }) });
}

function countDown() {
  const seconds = Math.max(0, Math.ceil((goodUntil - performance.now()) / 1000));
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  element("left").textContent = seconds === 0 ? "" : `Good for ${clock}`;
}

/** The browser delivers it only where the origin is exactly this. No message is taken in. @param {Record<string, unknown>} what */
function tellEmbedder(what) {
  const embedder = window.parent === window ? window.opener : window.parent;
  for (const origin of tells) embedder?.postMessage({ source: "hushpad", ...what }, origin);
}

/** Fills a fragment and keeps the keyboard's place in it. @param {string} id @param {string} html */
function replace(id, html) {
  if (shown.get(id) === html) return;
  shown.set(id, html);
  const box = element(id);
  const focused = document.activeElement;
  const inside = focused instanceof HTMLElement && box.contains(focused) ? focused.id : null;
  box.innerHTML = policy ? policy.createHTML(html) : html;
  if (inside === null) return;
  const again = inside === "" ? null : document.getElementById(inside);
  // The button has gone: the place to be is where the news is.
  const status = element("status");
  if (!again) status.tabIndex = -1;
  (again ?? status).focus();
}

/** Tells a screen reader what has changed, and not how many keys there are. @param {PageData} page */
function announce(page) {
  /** @type {string[]} */
  const news = [];
  for (const field of page.fields) {
    const before = fieldWords.get(field.field);
    if (before !== undefined && before !== field.words) news.push(field.words);
    fieldWords.set(field.field, field.words);
  }
  if (page.announce !== announced) news.push(page.announce);
  announced = page.announce;
  if (news.length > 0) element("announce").textContent = news.join(" ");
}

/** Actions go one after the other, so that keys cannot overtake each other. @type {Promise<unknown>} */
let sending = Promise.resolve();

/** @param {Record<string, string>} action @returns {Promise<boolean>} whether it was taken */
function act(action) {
  const sent = sending.then(() => send(action));
  sending = sent;
  return sent;
}

/** @param {Record<string, string>} action */
async function send(action) {
  if (over) return false;
  try {
    const response = await fetch(`${base}/act`, {
      method: "POST",
      headers: { "X-Page-Handle": handle },
      body: new URLSearchParams(action),
      cache: "no-store",
      redirect: "error",
    });
    if (response.status === 409) tellLine("That is not possible just now.");
    else if (response.status === 403 || response.status === 410) finish(isLinkPage ? "This page is over. Ask for a new code." : "This page is no longer connected to the payment.");
    else if (!response.ok) tellLine("That did not arrive. Look at the page before you try again.");
    else tellLine("");
    return response.ok;
  } catch {
    tellLine("That may not have arrived. Look at the page before you try again.");
    return false;
  }
}

/** @param {string} text Empty when the payment is over and the page shows how. */
function finish(text) {
  over = true;
  tellLine(text);
  if (text === "") return;
  if (isLinkPage) showCode("closed", { leftMs: null, callGuid: null });
  else tellSession("closed", null);
  for (const button of document.querySelectorAll("main button")) button.setAttribute("aria-disabled", "true");
}

/** @param {string} name @param {string} data */
function hear(name, data) {
  if (name === "state") show(JSON.parse(data));
  else if (name === "end") finish("");
  else if (name === "closed") finish("This page was opened elsewhere. Use that one, or close both.");
}

/** Reads events until the line ends. @param {NonNullable<Response["body"]>} body @param {() => void} alive */
async function readEvents(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    rest += value;
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const lines = rest.slice(0, end).split("\n");
      rest = rest.slice(end + 2);
      const part = (/** @type {string} */ key) => lines.find((line) => line.startsWith(key))?.slice(key.length) ?? "";
      hear(part("event: "), part("data: "));
      if (over) return void reader.cancel();
    }
  }
}

/** One connection, from its start to its loss. @param {() => void} connected */
async function listen(connected) {
  const stop = new AbortController();
  let timer = setTimeout(() => stop.abort(), SILENCE_MS);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(), SILENCE_MS);
  };
  try {
    const response = await fetch(`${base}/live`, {
      headers: { "X-Page-Handle": handle, Accept: "text/event-stream" },
      cache: "no-store",
      redirect: "error",
      signal: stop.signal,
    });
    if (response.status === 403) return finish("This page was opened elsewhere, or its time is over.");
    if (response.status === 404 || response.status === 410) return finish(isLinkPage ? "This page is over. Ask for a new code." : "This payment is over. Your own application shows what became of it.");
    if (!response.ok || !response.body) return;
    connected();
    await readEvents(response.body, alive);
  } catch {
    // Lost: the caller tries again.
  } finally {
    clearTimeout(timer);
  }
}

async function stayConnected() {
  for (let tries = 0; !over; tries++) {
    await listen(() => {
      tries = 0;
      tellLine("");
    });
    if (over) return;
    tellLine("The line to the server is lost. Reconnecting. What the page shows may be old.");
    const wait = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] ?? 8000;
    await new Promise((resolve) => setTimeout(resolve, wait * (0.75 + Math.random() / 2)));
  }
}

const confirmation = /** @type {HTMLDialogElement | null} */ (document.getElementById("confirm"));
if (confirmation) {
  element("confirm-no").addEventListener("click", () => confirmation.close());
  element("confirm-yes").addEventListener("click", () => {
    confirmation.close();
    void act({ action: "cancel" });
  });
}

/** The browser's newer way needs a permission that a frame does not have. @param {HTMLButtonElement} button */
function copy(button) {
  const field = /** @type {HTMLInputElement} */ (element("link-url"));
  field.select();
  const done = document.execCommand("copy");
  button.textContent = done ? "Copied" : "Press Ctrl+C";
}

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target.closest("button[data-action]") : null;
  if (!(target instanceof HTMLButtonElement) || target.getAttribute("aria-disabled") === "true") return;
  const { action = "", field, key } = target.dataset;
  if (action === "cancel") return confirmation?.showModal();
  if (action === "copy") return copy(target);
  // A second press before the answer must not count.
  if (action === "pay") target.setAttribute("aria-disabled", "true");
  void act(field ? { action, field } : key ? { action, key } : { action }).then((taken) => {
    if (action !== "pay") return;
    shown.delete("actions"); // the next event draws the button anew
    if (!taken && !over) target.removeAttribute("aria-disabled");
  });
});

if (isLinkPage) setInterval(countDown, 1000);
void stayConnected();

// The shop's page: listens to the shop's event stream, and hands each event to who shows it.

import { Keypad } from "./keypad.js";
import { element, post } from "./page.js";
import { Picture } from "./picture.js";

/**
 * @typedef {{ state: "idle" | "calling" | "in_call" | "ended", why: string, agent: string }} Call
 * @typedef {{ request: string, request_body: string, status: number | null, reply_body: string }} Exchange
 * @typedef {{ reference: string, amount: string, currency: string, session_state: string, outcome: string | null,
 *   payment_result_data: Record<string, unknown> }} Payment
 * @typedef {{ iframeUrl: string, accessToken: string, refreshToken: string }} FrameTicket
 */

/** Exchanges shown. */
const MAX_EXCHANGES = 40;

const status = element("status", HTMLElement);
const callText = element("call", HTMLElement);
const callButton = element("call-button", HTMLButtonElement);
const payButton = element("pay", HTMLButtonElement);
const tally = element("tally", HTMLElement);
const log = element("log", HTMLElement);

/**
 * @param {string} text
 * @param {string} [outcome]
 */
function showStatus(text, outcome = "") {
  status.textContent = text;
  status.dataset.outcome = outcome;
}

/** @param {unknown} error */
function words(error) {
  return error instanceof Error ? error.message : String(error);
}

element("order", HTMLFormElement).addEventListener("submit", async (event) => {
  event.preventDefault();
  payButton.disabled = true;
  showStatus("Asking the Payment API …");
  try {
    const amount = element("amount", HTMLInputElement).value.trim();
    /** @type {FrameTicket} */
    const ticket = await post("/payment", { amount });
    openAgentPage(ticket);
  } catch (error) {
    showStatus(words(error), "failed");
  } finally {
    payButton.disabled = false;
  }
});

/**
 * Opens the agent page as an integrator does: a form post from the shop's origin into the frame.
 * @param {FrameTicket} ticket
 */
function openAgentPage(ticket) {
  const form = element("frame-form", HTMLFormElement);
  const fields = form.querySelectorAll("input");
  element("frame-hint", HTMLElement).hidden = true;
  element("agent-page", HTMLIFrameElement).hidden = false;
  form.action = ticket.iframeUrl;
  fields[0].value = ticket.accessToken;
  fields[1].value = ticket.refreshToken;
  form.submit();
  form.reset();
  for (const field of fields) field.value = "";
}

/** What a session's state and outcome mean to a shop. */
const MEANINGS = new Map([
  ["approved", "Paid"],
  ["declined", "Declined"],
  ["review", "Held for review"],
  ["cancelled", "Cancelled"],
  ["unknown", "Not known yet: do not charge again"],
  ["none", "Not paid"],
]);

/** @param {Payment | null} payment */
function showPayment(payment) {
  if (!payment) return;
  const outcome = payment.outcome ?? "";
  const over = !["Created", "InProgress", "Processing"].includes(payment.session_state);
  const meaning = over ? (MEANINGS.get(outcome) ?? "Not paid") : "Waiting";
  showStatus(`${meaning}\n${payment.session_state}`, over ? outcome : "");
}

/** @param {Call} call */
function showCall(call) {
  const texts = {
    idle: "No call yet.",
    calling: `Calling ${call.agent} …`,
    in_call: `Talking to ${call.agent}.`,
    ended: `Call over: ${call.why}.`,
  };
  callText.textContent = texts[call.state];
  callButton.disabled = call.state === "calling";
  callButton.textContent = call.state === "in_call" ? "Hang up" : "Call";
  callButton.dataset.action = call.state === "in_call" ? "hang_up" : "call";
  keypad.enable(call.state === "in_call");
}

callButton.addEventListener("click", async () => {
  try {
    await post("/call", callButton.dataset.action ?? "call");
  } catch (error) {
    callText.textContent = words(error);
  }
});

/** @param {Exchange} exchange */
function showExchange(exchange) {
  log.querySelector(".empty")?.remove();
  const item = document.createElement("li");
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.append(
    text("span", "path", exchange.request),
    text("span", "said", gist(exchange.reply_body)),
    text("span", (exchange.status ?? 500) < 400 ? "" : "failed", String(exchange.status ?? "no reply")),
  );
  details.append(summary);
  if (exchange.request_body) details.append(text("pre", "", `→ ${exchange.request_body}`));
  details.append(text("pre", "", `← ${exchange.reply_body}`));
  item.append(details);
  log.prepend(item);
  while (log.children.length > MAX_EXCHANGES) log.lastElementChild?.remove();
}

/**
 * The one thing in a reply that a reader of the log looks for.
 * @param {string} body
 */
function gist(body) {
  try {
    const reply = JSON.parse(body);
    const attempt = reply.attempts?.at(-1)?.state;
    return [reply.sessionState, attempt ?? reply.outcome].filter(Boolean).join(", ");
  } catch {
    return "";
  }
}

/**
 * @param {string} tag
 * @param {string} className
 * @param {string} content
 */
function text(tag, className, content) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = content;
  return made;
}

/** @param {{ paying: boolean, pressed: number, heard: number }} count of the latest payment */
function showTally(count) {
  const keys = count.pressed === 1 ? "1 key pressed" : `${count.pressed} keys pressed`;
  tally.textContent = count.paying
    ? `In this payment: ${keys}, ${count.heard} heard by the agent.`
    : "No payment is open: keys reach the agent.";
  tally.dataset.leak = count.paying && count.heard > 0 ? "yes" : "no";
}

const keypad = new Keypad(element("keypad", HTMLElement));
const picture = new Picture(element("sent", HTMLCanvasElement), element("heard", HTMLCanvasElement));
log.append(text("li", "empty", "Nothing asked yet."));

const live = new EventSource("/live");

/**
 * @param {string} name
 * @param {(data: any) => void} show
 */
function on(name, show) {
  live.addEventListener(name, (event) => show(JSON.parse(event.data)));
}

on("call", showCall);
on("picture", (piece) => picture.add(piece));
on("press", (press) => {
  picture.press(press);
  keypad.flash(press);
});
on("judgement", (told) => {
  picture.judge(told.press);
  showTally(told.tally);
});
on("exchange", showExchange);
on("payment", showPayment);
live.addEventListener("open", () => {
  // A new stream tells everything again.
  log.replaceChildren(text("li", "empty", "Nothing asked yet."));
  picture.clear();
});
live.addEventListener("error", () => {
  callText.textContent = "The demo is not running.";
});

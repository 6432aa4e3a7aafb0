// @ts-check
// The payer page's only script. The page works without it. It shows the card's brand while the number is typed, tells
// the agent how far the payer is (a field's name and a count, no digit), and shows the outcome without a reload.

/** From, to, brand, whether it is taken, lengths, length of the security code. @typedef {[string, string, string, boolean, number[], number]} BrandRange */

/** How often the agent hears of typing, at most. */
const TELL_EVERY_MS = 400;
const LOOK_AGAIN_MS = 1500;

const form = document.getElementById("pay");
if (form instanceof HTMLFormElement) fillIn(form);
const waits = document.querySelector("[data-waits]");
if (waits instanceof HTMLElement) wait(waits.dataset.waits ?? "");
document.querySelector(".mistake")?.closest(".field")?.querySelector("input")?.focus();

/** @param {HTMLFormElement} form */
function fillIn(form) {
  /** @type {BrandRange[]} */
  const ranges = JSON.parse(form.dataset.brands ?? "[]");
  const tell = teller(form.action);
  form.addEventListener("input", (event) => {
    const input = event.target;
    if (!(input instanceof HTMLInputElement)) return;
    const digits = input.value.replace(/\D/g, "");
    if (input.name === "card_number") showBrand(ranges, digits);
    tell(input.name, digits.length);
  });
  form.addEventListener("submit", (event) => {
    const button = document.getElementById("submit");
    if (!(button instanceof HTMLButtonElement)) return;
    if (button.disabled) event.preventDefault();
    button.disabled = true;
    button.textContent = "Paying…";
  });
  // A page that the browser kept must not come back with a card in it, or with its button off.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}

/** @param {BrandRange[]} ranges @param {string} digits */
function showBrand(ranges, digits) {
  const holds = (/** @type {BrandRange} */ [from, to]) => {
    const start = digits.slice(0, from.length);
    return start.length === from.length && from <= start && start <= to;
  };
  const found = ranges.filter(holds).sort((a, b) => b[0].length - a[0].length)[0];
  const box = document.getElementById("brand");
  const text = found ? found[2] + (found[3] ? "" : " (not taken here)") : "";
  if (box && box.textContent !== text) box.textContent = text;
}

/** Sends counts now and then, the newest of each field; what is lost does no harm. @param {string} action */
function teller(action) {
  /** @type {Map<string, number>} */
  const news = new Map();
  let waiting = false;
  const send = async () => {
    waiting = false;
    const counts = [...news];
    news.clear();
    for (const [field, typed] of counts) {
      await fetch(`${action}/typing`, {
        method: "POST",
        body: new URLSearchParams({ field, typed: String(typed) }),
        keepalive: true,
      }).catch(() => undefined);
    }
  };
  return (/** @type {string} */ field, /** @type {number} */ typed) => {
    // The field that was typed last is told last.
    news.delete(field);
    news.set(field, typed);
    if (!waiting) setTimeout(send, TELL_EVERY_MS);
    waiting = true;
  };
}

/** Looks again until something else is to be seen. @param {string} path */
function wait(path) {
  setTimeout(async () => {
    try {
      const answer = await fetch(`${path}/state`);
      if ((await answer.json()).waits === false) return location.reload();
    } catch {
      // The line is bad: look again.
    }
    wait(path);
  }, LOOK_AGAIN_MS);
}

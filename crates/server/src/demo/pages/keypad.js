// The keypad of the customer's phone, and the helpers that press several keys.

import { element, post } from "./page.js";

/** @typedef {{ number: number, key: string, carrier: string, at_ms: number, length_ms: number }} Press */

/** Keys of a phone that a keyboard has too. */
const KEYS = "0123456789*#";

export class Keypad {
  /** @param {HTMLElement} pad */
  constructor(pad) {
    /** @type {Map<string, HTMLButtonElement>} */
    this.buttons = new Map();
    /** @type {HTMLButtonElement[]} */
    this.helpers = [];
    for (const button of pad.querySelectorAll("button")) {
      const key = button.dataset.key ?? "";
      this.buttons.set(key, button);
      button.addEventListener("click", () => this.press(key));
    }
    for (const button of element("cards", HTMLElement).querySelectorAll("button")) {
      this.helpers.push(button);
      button.addEventListener("click", () => this.press(button.dataset.keys ?? ""));
    }
    document.addEventListener("keydown", (event) => this.keyDown(event));
  }

  /** Digits typed anywhere but in a field are the customer's keys.
   * @param {KeyboardEvent} event */
  keyDown(event) {
    const inField = event.target instanceof HTMLInputElement && event.target.type !== "radio";
    const modified = event.ctrlKey || event.altKey || event.metaKey || event.repeat;
    if (inField || modified || !KEYS.includes(event.key) || event.key.length !== 1) return;
    event.preventDefault();
    this.press(event.key);
  }

  /** @param {string} keys */
  async press(keys) {
    const chosen = document.querySelector("input[name=carrier]:checked");
    const carrier = chosen instanceof HTMLInputElement ? chosen.value : "event";
    try {
      await post("/keys", { keys, carrier });
    } catch (error) {
      element("call", HTMLElement).textContent = error instanceof Error ? error.message : String(error);
    }
  }

  /** Shows a key going down on the phone itself: helpers press many, one after the other.
   * @param {Press} press */
  flash(press) {
    const button = this.buttons.get(press.key);
    if (!button) return;
    button.classList.add("down");
    setTimeout(() => button.classList.remove("down"), press.length_ms);
  }

  /** @param {boolean} enabled */
  enable(enabled) {
    for (const button of [...this.buttons.values(), ...this.helpers]) button.disabled = !enabled;
  }
}

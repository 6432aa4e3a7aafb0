// @ts-check
/** Follows the ledger: the server sends the table's rows, rendered, whenever they change. */
const rows = document.querySelector("tbody");
const state = document.querySelector("#state");
const events = new EventSource("/ledger/events");
events.onopen = () => { if (state) state.textContent = "live"; };
events.onerror = () => { if (state) state.textContent = "not connected, trying again"; };
events.onmessage = (/** @type {MessageEvent<string>} */ event) => {
  if (!rows) return;
  const open = new Set([...rows.querySelectorAll("details[open]")].map((one) => one.id));
  rows.innerHTML = event.data;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
};

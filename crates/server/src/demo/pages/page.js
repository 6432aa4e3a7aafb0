// What every part of the page needs: its elements, and the shop's back end.

/**
 * The element with this id, which the page is known to have.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${id}`);
  return found;
}

/**
 * Posts JSON to the shop's own back end.
 * @param {string} path
 * @param {unknown} body
 * @returns {Promise<any>} the reply's JSON, or null where there is none
 */
export async function post(path, body) {
  const reply = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const json = reply.status === 204 ? null : await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(json?.error ?? `the shop's back end answered ${reply.status}`);
  return json;
}

// @ts-check
// The agent's screen in Chromium: a shop's page of another origin posts the form into its frame, the agent clicks,
// the customer types on a phone. Run by `stories/browser.rs`, which reads what is printed here:
//   keys FIELD     the customer should type this field now
//   told JSON      what the shop's page was told by postMessage
//   headline TEXT  what the page said at the end
//   fault TEXT     what the browser or axe complained about
// Argument: one JSON object { shop, chromium, session, place, shots }.

import { createServer } from "node:http";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

/**
 * @typedef {{ iframeUrl: string, agentAccessToken: string, agentRefreshToken: string }} Session
 * @typedef {{ shop: number, chromium: string, session: Session, place: string, shots: string }} Task
 */

/** @type {Task} */
const task = JSON.parse(process.argv[2] ?? "{}");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const say = (/** @type {string} */ line) => console.log(line.replaceAll("\n", " "));

/** The shop's own page, as an integrator writes it. */
const shopPage = `<!doctype html><html lang="en"><head><title>Shop</title><style>
body{font-family:sans-serif;margin:1rem} iframe{width:100%;height:44rem;border:1px solid #888}
</style></head><body><main><h1>Order 17</h1>
<form method="post" action="${task.session.iframeUrl}" target="payment">
<input type="hidden" name="X-BEARER-TOKEN" value="${task.session.agentAccessToken}">
<input type="hidden" name="X-REFRESH-TOKEN" value="${task.session.agentRefreshToken}">
<button>Take payment by phone</button></form>
<iframe name="payment" title="Payment"></iframe></main>
<script>addEventListener("message", (event) => {
  if (event.origin === ${JSON.stringify(new URL(task.session.iframeUrl).origin)}) console.log("told " + JSON.stringify(event.data));
});</script></body></html>`;

/** A page of an origin that is not allowed, and has the tokens all the same: it opens the pop-up and listens. */
const strangerPage = `<!doctype html><html lang="en"><head><title>Stranger</title></head><body>
<form method="post" action="${task.session.iframeUrl.replace(/\/framed$/, "")}" target="popup">
<input type="hidden" name="X-BEARER-TOKEN" value="${task.session.agentAccessToken}">
<input type="hidden" name="X-REFRESH-TOKEN" value="${task.session.agentRefreshToken}">
<button>Open</button></form>
<script>globalThis.heard = [];
addEventListener("message", (event) => globalThis.heard.push(event.data));
document.querySelector("form").addEventListener("submit", () => open("", "popup"));</script></body></html>`;

const shop = createServer((request, response) => {
  const known = request.url === "/" || request.url === "/stranger";
  response.writeHead(known ? 200 : 204, { "Content-Type": "text/html; charset=utf-8" });
  response.end(known ? (request.url === "/" ? shopPage : strangerPage) : undefined);
});
await new Promise((resolve) => shop.listen(task.shop, "127.0.0.1", () => resolve(undefined)));

const browser = await chromium.launch({
  executablePath: task.chromium,
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP localhost 127.0.0.1",
  ],
});

try {
  const context = await browser.newContext({ viewport: { width: 900, height: 960 } });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => say(`fault ${error}`));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") say(`fault ${message.text()}`);
    else if (message.text().startsWith("told ")) say(message.text());
  });
  page.on("response", (response) => {
    if (response.status() >= 400) say(`fault ${response.status()} ${new URL(response.url()).pathname}`);
  });
  const stranger = await context.newPage();
  await stranger.goto(`http://127.0.0.1:${task.shop}/stranger`);
  const opening = stranger.waitForEvent("popup");
  await stranger.getByRole("button", { name: "Open" }).click();
  const popUp = await opening;
  await popUp.locator("h1.amount").waitFor();
  if (await popUp.evaluate(() => window.opener === null)) say("fault the pop-up has nobody to tell: nothing is tested");

  await page.goto(`http://localhost:${task.shop}/`);
  await page.getByRole("button", { name: "Take payment by phone" }).click();
  const framed = page.frameLocator("iframe[name=payment]");
  await framed.locator("h1.amount").waitFor();
  // It had its say: that it is closed is the last that it tells.
  await popUp.locator("#line").getByText("This page was opened elsewhere").waitFor();

  /** @param {string} name */
  async function keep(name) {
    const frame = page.frame("payment");
    writeFileSync(`${task.place}/page-${name}.html`, (await frame?.content()) ?? "");
    await page.screenshot({ path: `${task.shots}/agent-page-${name}.png` });
    await frame?.evaluate(axe);
    /** @type {{ id: string, impact: string, nodes: string[] }[]} */
    const violations = await frame?.evaluate(async () => {
      const found = await /** @type {any} */ (globalThis).axe.run();
      return found.violations.map((/** @type {any} */ v) => ({
        id: v.id, impact: v.impact, nodes: v.nodes.map((/** @type {any} */ n) => n.html),
      }));
    });
    if (violations === undefined) say(`fault axe did not run at ${name}`);
    for (const { id, impact, nodes } of violations ?? []) {
      if (impact === "serious" || impact === "critical") say(`fault axe at ${name}: ${id} (${impact}) ${nodes}`);
      else say(`note axe at ${name}: ${id} (${impact}) ${nodes}`);
    }
  }

  await keep("1-opened");
  // One click: a field that is complete opens the next.
  await framed.getByRole("button", { name: "Ask for card number" }).click();
  for (const field of ["card number", "expiry date", "security code"]) {
    const row = framed.getByRole("group", { name: new RegExp(field, "i") });
    await row.getByText("Waiting for the first key").waitFor();
    say(`keys ${field}`);
    if (field === "expiry date") {
      await row.getByText("Being typed").waitFor();
      await page.screenshot({ path: `${task.shots}/agent-page-2-typing.png` });
    }
    await row.getByText("Complete").waitFor();
  }
  await keep("3-ready");
  // By keyboard, as an agent without a mouse would.
  await framed.getByRole("button", { name: /^Pay / }).focus();
  await page.keyboard.press("Enter");
  await framed.locator("#status .standing.good .headline").waitFor();
  say(`headline ${await framed.locator("#status .headline").innerText()}`);
  await keep("4-approved");
  const heard = await stranger.evaluate(() => JSON.stringify(/** @type {any} */ (globalThis).heard));
  if (heard !== "[]") say(`fault a page of another origin heard ${heard}`);
} catch (error) {
  await browser.contexts()[0]?.pages()[0]?.screenshot({ path: `${task.shots}/agent-page-failed.png` });
  throw error;
} finally {
  await browser.close();
  shop.close();
}

// @ts-check
// The page of a link code in Chromium: a shop's page of another origin posts the form into its frame and listens to
// what the frame tells; the agent gets a new code and keys it on the phone. Run by `stories/link_code.rs`, which reads
// what is printed here:
//   code CODE      the code that a screen reader reads out
//   told JSON      what the shop's page was told
//   fault TEXT     what was wrong
// Argument: one JSON object { shop, chromium, page, shots }.

import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

/**
 * @typedef {{ code: string, iframeUrl: string, agentAccessToken: string, agentRefreshToken: string }} LinkPage
 * @typedef {{ shop: number, chromium: string, page: LinkPage, shots: string }} Task
 */

/** @type {Task} */
const task = JSON.parse(process.argv[2] ?? "{}");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const say = (/** @type {string} */ line) => console.log(line.replaceAll("\n", " "));

/** The shop's own page, as an integrator writes it. */
const shopPage = `<!doctype html><html lang="en"><head><title>Shop</title><style>
body{font-family:sans-serif;margin:1rem} iframe{width:100%;height:24rem;border:1px solid #888}
</style></head><body><main><h1>Order 17</h1>
<form method="post" action="${task.page.iframeUrl}" target="link">
<input type="hidden" name="X-BEARER-TOKEN" value="${task.page.agentAccessToken}">
<input type="hidden" name="X-REFRESH-TOKEN" value="${task.page.agentRefreshToken}">
<button>Link my call</button></form>
<iframe name="link" title="Link your call"></iframe></main>
<script>addEventListener("message", (event) => {
  if (event.origin === ${JSON.stringify(new URL(task.page.iframeUrl).origin)}) console.log("told " + JSON.stringify(event.data));
});</script></body></html>`;

const shop = createServer((request, response) => {
  const known = request.url === "/";
  response.writeHead(known ? 200 : 204, { "Content-Type": "text/html; charset=utf-8" });
  response.end(known ? shopPage : undefined);
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
  const page = await browser.newPage({ viewport: { width: 640, height: 640 } });
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => say(`fault ${error}`));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") say(`fault ${message.text()}`);
    else if (message.text().startsWith("told ")) say(message.text());
  });
  page.on("response", (response) => {
    if (response.status() >= 400) say(`fault ${response.status()} ${new URL(response.url()).pathname}`);
  });
  await page.goto(`http://localhost:${task.shop}/`);
  await page.getByRole("button", { name: "Link my call" }).click();
  const framed = page.frameLocator("iframe[name=link]");

  /** @param {string} name */
  async function look(name) {
    await page.screenshot({ path: `${task.shots}/link-page-${name}.png` });
    const frame = page.frame("link");
    await frame?.evaluate(axe);
    /** @type {string[] | undefined} */
    const violations = await frame?.evaluate(async () => {
      const found = await /** @type {any} */ (globalThis).axe.run();
      return found.violations.map((/** @type {any} */ v) => `${v.id}: ${v.nodes.map((/** @type {any} */ n) => n.html)}`);
    });
    if (violations === undefined) say(`fault axe did not run at ${name}`);
    for (const violation of violations ?? []) say(`fault axe at ${name}: ${violation}`);
  }

  /** What is read out, as the keys that it names. */
  async function readOut() {
    const text = await framed.locator("#code .sr").innerText();
    return text.replace("The code: ", "").replace(/[., ]/g, "").replace("star", "*");
  }

  await framed.getByRole("timer").getByText(/^Good for [45]:/).waitFor();
  if ((await readOut()) !== task.page.code) say("fault the page reads out another code than the API gave");
  if ((await framed.locator("#code .code").innerText()).replace(/\s/g, "") !== task.page.code) say("fault it shows another code");
  // By keyboard, as an agent without a mouse would.
  await framed.getByRole("button", { name: "Get a new code" }).focus();
  await page.keyboard.press("Enter");
  await framed.locator("#code .sr").filter({ hasNotText: [...task.page.code.slice(1)].join(", ") }).waitFor({ state: "attached" });
  await look("1-waiting");
  say(`code ${await readOut()}`);
  await framed.locator("#status .standing.good").getByText("Linked: this is your call.").waitFor();
  if ((await framed.getByRole("timer").innerText()) !== "") say("fault the time goes on");
  if (await framed.getByRole("button").count()) say("fault there is a button still");
  await look("2-linked");
} finally {
  await browser.close();
  shop.close();
}

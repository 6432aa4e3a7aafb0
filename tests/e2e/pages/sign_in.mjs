// @ts-check
// An agent's browser at the sign-in page, in Chromium, with scripts off: a wrong password, then the right one, then back
// at the application. Beside it, with scripts on, axe looks at the page. Run by
// `crates/server/tests/sign_in_page.rs`, which reads what is printed here:
//   back QUERY     what the application was sent
//   fault TEXT     what was wrong
// Argument: one JSON object { chromium, url, back, agent, password }.

import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

/**
 * @typedef {{ chromium: string, url: string, back: number, agent: string, password: string }} Task
 */

/** @type {Task} */
const task = JSON.parse(process.argv[2] ?? "{}");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const say = (/** @type {string} */ line) => console.log(line.replaceAll("\n", " "));

const application = createServer((request, response) => {
  const asked = new URL(request.url ?? "/", "http://application");
  if (asked.pathname === "/back") say(`back ${asked.searchParams}`);
  response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
  response.end("<!doctype html><title>Back</title><h1>Signed in</h1>");
});
await new Promise((resolve) => application.listen(task.back, "127.0.0.1", () => resolve(undefined)));

const browser = await chromium.launch({
  executablePath: task.chromium,
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});

try {
  const looking = await browser.newPage({ viewport: { width: 390, height: 844 } });
  await looking.goto(task.url);
  await looking.evaluate(axe);
  /** @type {string[]} */
  const violations = await looking.evaluate(async () => {
    const found = await /** @type {any} */ (globalThis).axe.run();
    return found.violations.map((/** @type {any} */ v) => `${v.id}: ${v.nodes.map((/** @type {any} */ n) => n.html)}`);
  });
  for (const violation of violations) say(`fault axe: ${violation}`);

  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(task.url);
  await page.getByLabel("Agent id").fill(task.agent);
  await page.getByLabel("Password").fill("the wrong password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").getByText("not right").waitFor();
  if ((await page.getByLabel("Agent id").inputValue()) !== task.agent) say("fault the agent id must be typed again");
  if ((await page.getByLabel("Password").inputValue()) !== "") say("fault the password came back");
  await page.getByLabel("Password").fill(task.password);
  // By keyboard: Enter signs in, it does not cancel.
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Signed in" }).waitFor();
  if ((await context.cookies()).length > 0) say("fault there is a cookie");
} finally {
  await browser.close();
  application.close();
}

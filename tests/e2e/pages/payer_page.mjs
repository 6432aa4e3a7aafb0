// @ts-check
// A payer's phone in Chromium. Told what to do by `tests/e2e/browser.rs`, one JSON object a line on standard input; says
// `done N` after the Nth, and
//   fault TEXT     what the browser or axe complained about
//   note TEXT      what axe found of less weight
// Argument: one JSON object { chromium, place, shots, scripts }.

import { createInterface } from "node:readline";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

/** @typedef {{ chromium: string, place: string, shots: string, scripts: boolean }} Task */
/** @typedef {{ do: string, url?: string, text?: string, name?: string, number?: string, expiry?: string, code?: string, fields?: Record<string, string> }} Step */

/** @type {Task} */
const task = JSON.parse(process.argv[2] ?? "{}");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const say = (/** @type {string} */ line) => console.log(line.replaceAll("\n", " "));

const browser = await chromium.launch({
  executablePath: task.chromium,
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
const phone = await browser.newContext({
  viewport: { width: 390, height: 844 },
  isMobile: true,
  hasTouch: true,
  javaScriptEnabled: task.scripts,
});
const page = await phone.newPage();
page.setDefaultTimeout(30_000);
page.on("pageerror", (error) => say(`fault ${error}`));
page.on("console", (message) => {
  const text = message.text();
  // A page with a status of its own, such as 404 for a wrong link, is what was asked for.
  if (message.type() === "error" && !text.startsWith("Failed to load resource")) say(`fault ${text}`);
});
page.on("response", (response) => {
  const request = response.request();
  if (response.status() >= 400 && request.resourceType() !== "document") say(`fault ${response.status()} of a ${request.resourceType()}`);
});

/** @param {string} name */
async function keep(name) {
  writeFileSync(`${task.place}/payer-${name}.html`, await page.content());
  await page.screenshot({ path: `${task.shots}/payer-page-${name}.png`, fullPage: true });
  if (!task.scripts) return;
  await page.evaluate(axe);
  /** @type {{ id: string, impact: string, nodes: string[] }[]} */
  const violations = await page.evaluate(async () => {
    const found = await /** @type {any} */ (globalThis).axe.run();
    return found.violations.map((/** @type {any} */ v) => ({
      id: v.id, impact: v.impact, nodes: v.nodes.map((/** @type {any} */ n) => n.html),
    }));
  });
  for (const { id, impact, nodes } of violations) say(`fault axe at ${name}: ${id} (${impact}) ${nodes}`);
}

/** @param {Step} step */
async function act(step) {
  switch (step.do) {
    case "open":
      await page.goto(step.url ?? "");
      return;
    case "form":
      // As a shop's page opens the agent page in a window of its own.
      await page.setViewportSize({ width: 600, height: 800 });
      await page.setContent(`<form method="post" action="${step.url}">${Object.entries(step.fields ?? {})
        .map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`)
        .join("")}<button>Open</button></form>`);
      await page.getByRole("button", { name: "Open" }).click();
      return;
    case "type":
      // As a person types: key by key.
      if (step.number) await page.getByLabel("Card number").pressSequentially(step.number);
      if (step.expiry) await page.getByLabel("Expiry date").pressSequentially(step.expiry);
      if (step.code) await page.getByLabel("Security code").pressSequentially(step.code);
      return;
    case "press":
      await page.getByRole("button", { name: step.text ?? "" }).or(page.getByRole("link", { name: step.text ?? "" })).click();
      return;
    case "see":
      await page.getByText(step.text ?? "").first().waitFor();
      return;
    case "focused":
      if ((await page.evaluate(() => document.activeElement?.id)) !== step.text) throw new Error(`the focus is not on ${step.text}`);
      return;
    case "keep":
      await keep(step.name ?? "page");
      return;
    default:
      throw new Error(`no such step: ${step.do}`);
  }
}

let done = 0;
try {
  for await (const line of createInterface({ input: process.stdin })) {
    await act(JSON.parse(line));
    done += 1;
    say(`done ${done}`);
  }
} catch (error) {
  await page.screenshot({ path: `${task.shots}/payer-page-failed.png` });
  say(`fault at step ${done + 1}: ${error}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

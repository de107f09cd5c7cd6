/* Drives one Firefox for a test. It reads one JSON command per line of standard input, and writes each result. */

import { createInterface } from "node:readline";
import { launch } from "puppeteer-core";

const PREFERENCES = {
  // Use fake devices, and do not ask whether the page may use them.
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  // Switch off the separate network processes and the obfuscated host names. An isolated network namespace needs
  // neither.
  "media.peerconnection.mtransport_process": false,
  "network.process.enabled": false,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  // Draw ten frames a second, as many as the cameras send: there is no graphics card.
  "layout.frame_rate": 10,
  // Switch off spare processes, and the separate process for each site.
  "dom.ipc.processPrelaunch.enabled": false,
  "fission.autostart": false,
  "dom.ipc.processCount": 1,
};

const browser = await launch({
  browser: "firefox",
  executablePath: process.argv[2],
  headless: true,
  extraPrefsFirefox: PREFERENCES,
});
const complaints = [];
const scripts = [];
let page = await openTab();

async function openTab() {
  const tab = await browser.newPage();
  tab.on("pageerror", ({ message }) => complaints.push(message));
  tab.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  for (const code of scripts) await tab.evaluateOnNewDocument(code);
  return tab;
}

const commands = {
  prepare: ({ code }) => {
    scripts.push(code);
    return page.evaluateOnNewDocument(code).then(() => null);
  },
  open: ({ url }) => page.goto(url).then(() => null),
  tab: async () => {
    page = await openTab();
  },
  close: () => page.close(),
  pid: () => browser.process().pid,
  reload: () => page.reload().then(() => null),
  press: ({ testid }) => page.locator(`[data-testid="${testid}"]`).setTimeout(20_000).click(),
  type: ({ text }) => page.keyboard.type(text),
  evaluate: ({ code, argument }) => page.evaluate(`(${code})(${JSON.stringify(argument)})`),
  complaints: () => complaints,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line);
  let outcome;
  try {
    outcome = { value: (await commands[command](rest)) ?? null };
  } catch (error) {
    outcome = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
await browser.close();

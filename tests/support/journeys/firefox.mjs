/* Drives one Firefox for a test: reads commands from its input, one a line of JSON, and writes what came of each. */

import { createInterface } from "node:readline";
import { launch } from "puppeteer-core";

const PREFERENCES = {
  // Devices that are not real, and nobody is asked whether the page may use them.
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  // Processes and names that a network namespace without an outside has no use for.
  "media.peerconnection.mtransport_process": false,
  "network.process.enabled": false,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  // There is no graphics card: ten frames a second, as the cameras have, are enough to draw.
  "layout.frame_rate": 10,
  // Processes in reserve, and one for each site.
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
const page = await browser.newPage();
const complaints = [];
page.on("pageerror", ({ message }) => complaints.push(message));
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));

const commands = {
  prepare: ({ code }) => page.evaluateOnNewDocument(code).then(() => null),
  open: async ({ url }) => {
    complaints.length = 0;
    await page.goto(url);
  },
  reload: () => page.reload().then(() => null),
  press: ({ testid }) => page.locator(`[data-testid="${testid}"]`).setTimeout(20_000).click(),
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

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { EventChannel } from "../../templates/static/sbe/channel.js";

const page = new EventTarget();
Object.assign(globalThis, {
  addEventListener: page.addEventListener.bind(page),
  removeEventListener: page.removeEventListener.bind(page),
});

/** The sockets that were opened, the newest last. @type {FakeSocket[]} */
const sockets = [];

class FakeSocket {
  isClosed = false;
  onopen = () => {};
  onmessage = (/** @type {{data: string}} */ _message) => {};

  /** @param {string} url */
  constructor(url) {
    this.url = url;
    sockets.push(this);
  }

  close() {
    this.isClosed = true;
  }
}
Object.assign(globalThis, { WebSocket: FakeSocket });

beforeEach(() => void sockets.splice(0));

async function settle() {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Start a channel whose first socket is open. */
function start() {
  /** @type {string[]} */
  const states = [];
  const channel = new EventChannel(
    /** @type {any} */ ({
      urls: { webSocket: "ws://enabler/events", http: "http://enabler/events" },
      cursor: 0,
      deliver: () => {},
      backlog: () => 0,
      onState: (/** @type {string} */ state) => states.push(state),
      trace: () => {},
    }),
  );
  const ended = channel.start();
  sockets[0].onopen();
  return { channel, states, ended };
}

test("a device that is online again connects over the new network at once, and continues from the cursor", async () => {
  const { channel, states, ended } = start();
  sockets[0].onmessage({ data: JSON.stringify({ type: "chat-opened", seq: 1 }) });
  page.dispatchEvent(new Event("online"));
  await settle();
  assert.deepEqual(
    sockets.map(({ url, isClosed }) => [url.replace(/.*\?/, ""), isClosed]),
    [
      ["after=0", true],
      ["after=1", false],
    ],
  );
  sockets[1].onopen();
  assert.deepEqual(states, ["websocket"]);
  channel.stop();
  await ended;
});

test("a channel that is stopped closes its connection and ignores the network", async () => {
  const { channel, ended } = start();
  channel.stop();
  await ended;
  page.dispatchEvent(new Event("online"));
  await settle();
  assert.deepEqual(
    sockets.map(({ isClosed }) => isClosed),
    [true],
  );
});

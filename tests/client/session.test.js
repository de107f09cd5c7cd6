import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SbeError, SessionOver } from "../../templates/static/sbe/errors.js";
import { SbeClient } from "../../templates/static/sbe/client.js";
import { conference, participant } from "./support/conference.js";
import { settle } from "./support/negotiation.js";
import { FakePeerConnection } from "./support/peer-connection.js";
import { Server } from "./support/server.js";

/**
 * @typedef {import("node:test").TestContext} TestContext
 * @typedef {import("../../templates/static/sbe/types.js").Registration} Registration
 * @typedef {import("../../templates/static/sbe/types.js").Session} Session
 */

// The event channel waits for the network. Node has no such event.
globalThis.addEventListener ??= () => undefined;
globalThis.removeEventListener ??= () => undefined;
globalThis.RTCPeerConnection = /** @type {any} */ (FakePeerConnection);

const LIFETIME_MS = 1_000;

/** A back end and an enabler in one server. The enabler accepts the tokens in `valid`. */
class World {
  valid = new Set();
  /** Whether the event channels are unreachable, so that only other requests learn of the end of a session. */
  isDeaf = false;
  /** The events of every session. @type {object[]} */
  events = [];
  /** The enabler's answers to a GET of a conference, by ID. @type {Record<string, import("./support/server.js").Answer>} */
  conferences = {};
  #sessions = 0;
  /** @type {SbeClient[]} */
  #clients = [];
  server = new Server((request) => {
    if (request.url === "/app/sessions" && request.method === "POST") return { status: 201, body: this.session() };
    if (request.url === "/app/sessions") return { status: 200, body: { sessions: [] } };
    if (this.isDeaf && request.url?.includes("/events")) return { status: 503, headers: { "Retry-After": "60" } };
    if (this.events.length > 0 && request.url?.includes("/events?after=0"))
      return {
        status: 200,
        headers: { "Content-Type": "text/event-stream" },
        body: this.events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""),
      };
    const read = this.conferences[request.url?.split("/mediaConferences/")[1] ?? ""];
    if (read) return read;
    if (!this.valid.has(request.headers.authorization)) return { status: 401, body: { code: "unauthenticated" } };
    if (request.url === "/base/mediaConferences" && request.method === "POST")
      return { status: 201, body: this.#call() };
    if (request.url?.startsWith("/base/mediaConferences?missed")) return { status: 200, body: { conferences: [] } };
    if (request.method === "DELETE") return { status: 204 };
    return { status: 200, body: { expiresAt: this.#expiry() } };
  });

  /** @param {TestContext} t ends the world */
  async start(t) {
    await this.server.start();
    t.after(async () => {
      await Promise.allSettled(this.#clients.map((client) => client.unregister()));
      await this.server.stop();
    });
    return this;
  }

  /** @param {ConstructorParameters<typeof SbeClient>[0]} [options] */
  client(options) {
    const made = new SbeClient(options);
    this.#clients.push(made);
    return made;
  }

  /** The conference that the latest session has just created. */
  #call() {
    const host = participant({ id: "p1", username: "alice", role: "host", sessionId: `s${this.#sessions}` });
    return conference({ participants: [host, participant({ id: "p2", username: "bob", state: "invited" })] });
  }

  #expiry() {
    return new Date(Date.now() + LIFETIME_MS).toISOString();
  }

  /** @param {{isValid?: boolean}} [options] @returns {Session} a new session */
  session({ isValid = true } = {}) {
    const id = `s${(this.#sessions += 1)}`;
    if (isValid) this.valid.add(`Bearer token-${id}`);
    const http = `${this.server.url}/base/sessions/${id}/events`;
    return {
      id,
      token: `token-${id}`,
      username: "alice",
      vtn: null,
      icmn: null,
      device: "laptop",
      state: "active",
      expiresAt: this.#expiry(),
      events: { http, webSocket: http.replace("http", "ws") },
      iceServers: [],
    };
  }

  /** @param {string} path @param {string} [method] the requests to a path */
  asked(path, method) {
    return this.server.requests.filter((each) => each.url === path && (!method || each.method === method));
  }
}

/**
 * @template T
 * @param {SbeClient} from
 * @param {"session" | "notice"} type
 * @param {(payload: any) => T | false | null | undefined} wanted
 * @returns {Promise<T>} the first wanted result
 */
function next(from, type, wanted) {
  return new Promise((resolve) => {
    const stop = from.on(type, (payload) => {
      const found = wanted(payload);
      if (!found) return;
      stop();
      resolve(found);
    });
  });
}

/**
 * Return a client that learns only from its requests that its session has ended, and the sessions with which the
 * application has renewed it.
 *
 * @param {TestContext} t
 */
async function deaf(t) {
  const world = await new World().start(t);
  world.isDeaf = true;
  /** @type {Session[]} */
  const renewals = [];
  const onTokenNeeded = () => {
    const session = world.session();
    renewals.push(session);
    return session;
  };
  return { world, renewals, alice: world.client({ onTokenNeeded }) };
}

describe("A client", { concurrency: true }, () => {
  test("gets its session from the application's function", async (t) => {
    const world = await new World().start(t);
    /** @type {Registration[]} */
    const asked = [];
    const alice = world.client({
      register: async (registration) => {
        asked.push(registration);
        return world.session();
      },
    });
    await alice.register({ device: "laptop" });
    assert.equal(alice.session?.id, "s1");
    assert.equal(alice.enabler, `${world.server.url}/base`);
    const [{ idempotencyKey, ...identity }] = asked;
    assert.deepEqual(identity, { device: "laptop" });
    assert.match(idempotencyKey, /^[0-9a-f]{32}$/);
  });

  test("passes on the error of the application's function", async () => {
    const alice = new SbeClient({ register: () => Promise.reject(new TypeError("not logged in")) });
    await assert.rejects(alice.register(), /not logged in/);
    assert.equal(alice.session, null);
  });

  test("says what is wrong if the back end returns no session", async () => {
    const alice = new SbeClient({ register: async () => /** @type {any} */ ({ user: "alice" }) });
    await assert.rejects(alice.register(), { name: "SbeError", message: /POST \/sessions/ });
    await assert.rejects(new SbeClient().register(), { name: "SbeError", message: /`register`/ });
    await assert.rejects(alice.people(), { name: "SbeError", message: /`devServer`/ });
  });

  test("sends the headers of the Dev Server to it alone, and the session's token to the enabler alone", async (t) => {
    const world = await new World().start(t);
    let asked = 0;
    const headers = async () => ({ "Authorization": `Login ${(asked += 1)}`, "X-CSRF": "42" });
    const alice = world.client({ devServer: { url: `${world.server.url}/app/`, headers } });
    await alice.register({ username: "alice" });
    await alice.people();
    await alice.unregister();
    const [post] = world.asked("/app/sessions", "POST");
    const [list] = world.asked("/app/sessions", "GET");
    assert.deepEqual([post.headers.authorization, list.headers.authorization], ["Login 1", "Login 2"]);
    assert.equal(list.headers["x-csrf"], "42");
    const [end] = world.asked("/base/sessions/s1", "DELETE");
    assert.equal(end.headers.authorization, "Bearer token-s1");
    assert.equal(end.headers["x-csrf"], undefined);
  });

  test("starts with a session that it is given", async (t) => {
    const world = await new World().start(t);
    const alice = world.client({});
    await alice.use(world.session());
    assert.equal(alice.session?.id, "s1");
    await assert.rejects(alice.use(world.session()), SbeError);
  });

  test("continues with a new session after its own has ended", async (t) => {
    const world = await new World().start(t);
    /** @type {Registration[]} */
    const asked = [];
    const alice = world.client({
      onTokenNeeded: async (registration) => {
        asked.push(registration);
        return world.session();
      },
    });
    /** @type {string[]} */
    const notices = [];
    alice.on("notice", ({ code }) => notices.push(code));
    await alice.use(world.session());
    world.valid.clear();
    assert.equal(await next(alice, "session", (session) => session?.id), "s2");
    assert.equal(asked[0].username, "alice");
    assert.equal(asked[0].device, "laptop");
    assert.deepEqual(notices, []);
  });

  for (const [what, onTokenNeeded] of /** @type {[string, (() => null) | undefined][]} */ ([
    ["returns nothing", () => null],
    [
      "fails",
      () => {
        throw new Error("logged out");
      },
    ],
    ["is missing", undefined],
  ])) {
    test(`reports the end of its session if onTokenNeeded ${what}`, async (t) => {
      const world = await new World().start(t);
      const alice = world.client({ onTokenNeeded });
      await alice.use(world.session({ isValid: false }));
      const notice = await next(alice, "notice", (each) => each);
      assert.equal(notice.code, "session-over");
      assert.equal(notice.error?.message, what === "fails" ? "logged out" : undefined);
      assert.equal(alice.session, null);
    });
  }

  test("asks only once if the new session is refused as well", async (t) => {
    const world = await new World().start(t);
    let asked = 0;
    const alice = world.client({
      onTokenNeeded: () => {
        asked += 1;
        return asked === 1 ? world.session({ isValid: false }) : null;
      },
    });
    await alice.use(world.session({ isValid: false }));
    assert.equal(await next(alice, "notice", ({ code }) => code), "session-over");
    assert.equal(asked, 1);
  });

  test("places a call with a new session if its own has ended unnoticed", async (t) => {
    const { world, alice, renewals } = await deaf(t);
    await alice.use(world.session());
    world.valid.delete("Bearer token-s1");
    await Promise.all([alice.call("bob"), alice.missedCalls()]);
    assert.equal(renewals.length, 1);
    assert.equal(alice.session?.id, "s2");
    const tokens = world.asked("/base/mediaConferences", "POST").map(({ headers }) => headers.authorization);
    assert.deepEqual(tokens, ["Bearer token-s1", "Bearer token-s2"]);
    assert.equal(alice.callState, "calling");
    assert.equal(alice.currentCall?.me?.id, "p1");
    await alice.currentCall?.hangUp();
  });

  for (const [what, renew] of /** @type {[string, (world: World) => Session | null][]} */ ([
    ["there is no new session", () => null],
    ["the new session is refused as well", (world) => world.session({ isValid: false })],
  ])) {
    test(`passes on the refusal of a request if ${what}`, async (t) => {
      const world = await new World().start(t);
      world.isDeaf = true;
      const alice = world.client({ onTokenNeeded: () => renew(world) });
      await alice.use(world.session({ isValid: false }));
      await assert.rejects(alice.call("bob"), { name: "Refusal", status: 401 });
      assert.equal(alice.currentCall?.endReason, "not-placed");
      assert.ok(world.asked("/base/mediaConferences", "POST").length <= 2);
    });
  }

  test("ends a call in progress when a request learns of the end of the session", async (t) => {
    const world = await new World().start(t);
    world.isDeaf = true;
    const alice = world.client({ onTokenNeeded: () => world.session() });
    await alice.use(world.session());
    await alice.call("bob");
    const call = alice.currentCall;
    world.valid.delete("Bearer token-s1");
    await alice.missedCalls();
    assert.equal(call?.endReason, "session-over");
    assert.equal(alice.session?.id, "s2");
  });

  for (const [what, reason, state, answer, rings] of /** @type {const} */ ([
    ["that still rings", "call", "invited", 200, true],
    ["that this device answered before a reload", "call", "accepted", 200, false],
    ["that was declined", "call", "left", 200, false],
    ["of a conference that is gone", "call", "invited", 404, false],
    ["that the enabler cannot tell about", "call", "accepted", 503, true],
    ["to a move that still rings", "move", "moving", 200, true],
    ["to a move that another device took", "move", "accepted", 200, false],
  ])) {
    test(`${rings ? "rings" : "does not ring"} for an invitation ${what}`, async (t) => {
      const world = await new World().start(t);
      const bob = participant({ id: "p2", username: "bob", state });
      const invited = { ...bob, state: /** @type {const} */ ("invited") };
      const known = conference({ participants: [invited] });
      world.conferences = {
        conf: { status: answer, body: conference({ participants: [bob] }) },
        last: { status: 200, body: known },
      };
      const from = { participant: "p1", username: "alice" };
      // By this computer's clock, the ringing ended long ago.
      const ringsUntil = "2020-01-01T00:00:30Z";
      const event = { type: "invitation-received", from, participant: invited, ringsUntil, conference: known };
      world.events = [
        { ...event, seq: 1, confId: "conf", reason },
        { ...event, seq: 2, confId: "last", reason: "call" },
      ];
      const client = world.client({});
      /** @type {string[]} */
      let ringing = [];
      client.on("invitations", (invitations) => (ringing = invitations.map(({ confId }) => confId)));
      await client.use(world.session());
      while (!ringing.includes("last")) await new Promise((done) => setTimeout(done, 5));
      assert.deepEqual(ringing, rings ? ["conf", "last"] : ["last"]);
    });
  }

  test("does not renew a session in order to end it", async (t) => {
    const { world, alice, renewals } = await deaf(t);
    await alice.use(world.session({ isValid: false }));
    await assert.rejects(alice.unregister(), { status: 401 });
    await settle();
    assert.equal(renewals.length, 0);
    assert.equal(alice.session, null);
  });

  test("ends a new session that arrives after the user has signed off", async (t) => {
    const world = await new World().start(t);
    /** @type {(session: Session) => void} */
    let answer = () => undefined;
    const alice = world.client({ register: () => new Promise((resolve) => (answer = resolve)) });
    const registered = alice.register({ username: "alice" });
    await alice.unregister();
    answer(world.session());
    await assert.rejects(registered, SessionOver);
    assert.equal(alice.session, null);
    while (world.asked("/base/sessions/s1", "DELETE").length === 0) await new Promise((done) => setTimeout(done, 5));
  });
});

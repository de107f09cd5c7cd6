import { retryAfterOf } from "./rest.js";
import { backOff, sleep } from "./waiting.js";

/**
 * @typedef {import("./event-types.js").SessionEvent} SessionEvent
 * @typedef {import("./types.js").Trace} Trace
 * @typedef {import("./origin.js").OriginCheck} OriginCheck
 * @typedef {"connecting" | "websocket" | "sse" | "poll" | "offline" | "replaced"} ChannelState
 *
 * How a connection ended:
 *
 * - "refused": the server refused it permanently.
 * - "failed": it never worked.
 * - "closed": it worked for a while, then broke.
 * - "ended": the server ended an event stream properly.
 * - "upgrade": it was closed to try the WebSocket again.
 * - "replaced": newer connections of the same session took its place.
 *
 * @typedef {"refused" | "failed" | "closed" | "ended" | "upgrade" | "replaced"} Ending
 */

// The server sends a heartbeat every 15 s. Two missing heartbeats and 5 s of grace mean that the connection is dead.
const SILENCE_MS = 35_000;
const OPENING_MS = 8_000;
const POLL_WAIT_S = 25;
// While a fallback transport is in use, the WebSocket is tried again after 5 s, because the server may have restarted.
// The interval then grows.
const UPGRADE_MIN_MS = 5_000;
const UPGRADE_MAX_MS = 300_000;
// A connection that lasted for less than this time counts as one that did not work.
const WORKED_MS = 5_000;
// The status of a refusal is the same over HTTP. Over a WebSocket, 4000 is added to it.
const CLOSE_CODES = 4000;
const FINAL_STATUSES = new Set([401, 403, 404]);
const FORBIDDEN = 403;
const REPLACED = 409;
// A server that does not want to be asked for some time is obeyed, but not for longer than this.
const LONGEST_RETRY_AFTER_MS = 60_000;
// The transports to try, in this order, while attempts fail. The WebSocket is also tried between `sse` and `poll`,
// because the server may have been down only for a moment.
const LADDER = /** @type {const} */ (["websocket", "websocket", "websocket", "sse", "websocket", "poll"]);
const BACKLOG_LIMIT = 256;

/**
 * Delivers the events of one session, each exactly once and in order, over any transport that works.
 *
 * The server sends each event at least once. The cursor is the `seq` of the last delivered event. The channel drops
 * each event at or below the cursor, so that none is delivered twice. After a jump in `seq` the channel reconnects from
 * the cursor.
 */
export class EventChannel {
  #isStopped = false;
  /** Ends the connection or the pause that is in progress. */
  #step = new AbortController();
  #failures = 0;
  #upgradeAfterMs = UPGRADE_MIN_MS;
  /**
   * When to leave the fallback transport, on the clock of `performance.now`. Null while no fallback transport is in
   * use.
   */
  #upgradeAt = /** @type {number | null} */ (null);
  #seenJumpAt = -1;
  /** How long the server asked to wait before the next attempt. */
  #retryAfterMs = 0;
  /** The status with which the server refused the session permanently. */
  #refusal = 0;
  /** @type {ChannelState} */
  #state = "connecting";
  /** Ends the wait of a replaced channel. @type {(() => void) | null} */
  #goOn = null;

  /**
   * @param {object} options
   * @param {{webSocket: string, http: string}} options.urls
   * @param {string} options.token
   * @param {number} options.cursor
   * @param {(event: SessionEvent) => void} options.deliver
   * @param {() => number} options.backlog the number of delivered events that still wait to be handled
   * @param {(state: ChannelState) => void} options.onState
   * @param {(status: number) => void} options.onRefused the session has ended (401, 404), or the server does not allow
   *   this page (403); the channel has stopped
   * @param {(trace: Trace) => void} options.trace
   * @param {OriginCheck} options.origins
   */
  constructor({ urls, token, cursor, deliver, backlog, onState, onRefused, trace, origins }) {
    this.cursor = cursor;
    this.urls = urls;
    this.token = token;
    this.deliver = deliver;
    this.backlog = backlog;
    this.onState = onState;
    this.onRefused = onRefused;
    this.trace = trace;
    this.origins = origins;
  }

  get state() {
    return this.#state;
  }

  /** Keep the channel open until `stop()`, or until the server refuses it permanently. */
  async start() {
    // The network may be another one now. A connection over the old one would appear to work, but bring nothing.
    const renew = () => this.#step.abort();
    globalThis.addEventListener("online", renew);
    try {
      while (!this.#isStopped) {
        const startedAt = performance.now();
        this.#step = new AbortController();
        let ending = await this.#connectOnce();
        while (ending === "upgrade" && !this.#isStopped) ending = await this.#upgrade();
        if (this.#isStopped) return;
        if (ending === "refused") return this.onRefused(this.#refusal);
        if (ending === "replaced") await this.#standBy();
        else if (!this.#step.signal.aborted) await this.#pause(ending, performance.now() - startedAt);
      }
    } finally {
      globalThis.removeEventListener("online", renew);
    }
  }

  stop() {
    this.#isStopped = true;
    this.#step.abort();
    this.#goOn?.();
  }

  /** Connect a replaced channel again. Call it only if the user asks for that. */
  resume() {
    this.#goOn?.();
  }

  /**
   * Wait for `resume`. An automatic reconnection would replace another connection, which would then replace this one in
   * turn.
   */
  async #standBy() {
    this.#enter("replaced");
    await new Promise((resolve) => (this.#goOn = () => resolve(undefined)));
    this.#goOn = null;
    this.#failures = 0;
  }

  /**
   * Try the WebSocket once. If that fails, go back at once to the transport that works. A network that blocks
   * WebSockets then causes no interruption.
   *
   * @returns {Promise<Ending>}
   */
  async #upgrade() {
    const fallback = this.#state;
    this.#upgradeAt = null;
    this.#upgradeAfterMs = Math.min(this.#upgradeAfterMs * 2, UPGRADE_MAX_MS);
    const ending = await this.#webSocket();
    if (ending !== "failed") return ending;
    return fallback === "poll" ? this.#longPoll() : this.#serverSentEvents();
  }

  /**
   * @param {Ending} ending
   * @param {number} lastedMs
   */
  async #pause(ending, lastedMs) {
    if (ending === "ended" && lastedMs > WORKED_MS) return sleep(backOff(0), this.#step.signal);
    this.#failures = ending === "closed" && lastedMs > WORKED_MS ? 0 : this.#failures + 1;
    this.#enter("offline");
    const wait = this.#retryAfterMs + backOff(this.#failures);
    this.#retryAfterMs = 0;
    await sleep(wait, this.#step.signal);
    // A new connection brings more events, so first handle some of the waiting ones.
    while (this.backlog() > BACKLOG_LIMIT / 2 && !this.#isStopped) await sleep(50);
  }

  /** @returns {Promise<Ending>} */
  #connectOnce() {
    const transport = LADDER[this.#failures % LADDER.length];
    if (transport === "websocket") return this.#webSocket();
    if (transport === "sse") return this.#serverSentEvents();
    return this.#longPoll();
  }

  /** @param {ChannelState} state */
  #enter(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.onState(state);
    this.trace({
      sort: "channel",
      direction: "none",
      at: new Date(),
      title: "event channel",
      state,
      failed: state === "offline",
      detail: { cursor: this.cursor },
    });
  }

  /**
   * @param {SessionEvent} event
   * @returns {boolean} false if an event is missing, so that the channel must reconnect
   */
  #accept(event) {
    if (event.type === "gap") this.cursor = Math.max(this.cursor, (event.oldest ?? 1) - 1);
    if (!("seq" in event)) {
      this.deliver(event);
      return true;
    }
    if (event.seq <= this.cursor) return true;
    if (event.seq > this.cursor + 1 && this.#seenJumpAt !== this.cursor) {
      this.#seenJumpAt = this.cursor;
      return false;
    }
    // If the same jump happens twice, the log lacks the skipped events: this is a gap.
    if (event.seq > this.cursor + 1) this.deliver({ type: "gap", oldest: event.seq });
    if (this.backlog() >= BACKLOG_LIMIT) return false;
    this.cursor = event.seq;
    this.deliver(event);
    return true;
  }

  /** @returns {Promise<Ending>} */
  #webSocket() {
    /** @type {WebSocket} */
    let socket;
    try {
      socket = new WebSocket(`${this.urls.webSocket}?after=${this.cursor}`, ["sbe.v1", `bearer.${this.token}`]);
    } catch {
      // The address is unusable: for example, a gateway gave an https: page a ws: address. The other transports may
      // still work.
      return Promise.resolve("failed");
    }
    return new Promise((resolve) => {
      let opened = false;
      const finish = (/** @type {Ending} */ ending) => {
        clearTimeout(silence);
        this.#step.signal.removeEventListener("abort", abandon);
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
        resolve(ending);
      };
      const abandon = () => finish(opened ? "closed" : "failed");
      let silence = setTimeout(abandon, OPENING_MS);
      const heard = () => {
        clearTimeout(silence);
        silence = setTimeout(abandon, SILENCE_MS);
      };
      this.#step.signal.addEventListener("abort", abandon);

      socket.onopen = () => {
        opened = true;
        this.#upgradeAt = null;
        this.#upgradeAfterMs = UPGRADE_MIN_MS;
        heard();
        this.#enter("websocket");
      };
      socket.onmessage = ({ data }) => {
        heard();
        const event = /** @type {SessionEvent | {type: "heartbeat"} | null} */ (parse(data));
        if (event === null) return finish("closed");
        // The reply repeats the heartbeat with its nonce. The server disconnects clients that do not reply.
        if (event.type === "heartbeat") return socket.send(data);
        if (!this.#accept(event)) finish("closed");
      };
      socket.onclose = ({ code }) => {
        const status = code - CLOSE_CODES;
        if (status === FORBIDDEN) this.origins.refused(socket.url);
        if (status === REPLACED) finish("replaced");
        else if (this.#isFinal(status)) finish("refused");
        else abandon();
      };
    });
  }

  /** @returns {Promise<Ending>} */
  async #serverSentEvents() {
    const connection = this.#deadline();
    try {
      const response = await this.#get(`after=${this.cursor}`, "text/event-stream", connection.signal);
      if (this.#isFinal(response.status)) return "refused";
      if (!response.ok || response.body === null) return "failed";
      this.#fallBackTo("sse");
      connection.heard(SILENCE_MS);
      for await (const block of blocks(response.body)) {
        connection.heard(SILENCE_MS);
        const data = block.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
        if (data.length > 0) {
          const event = /** @type {SessionEvent | {type: "reader-replaced"} | null} */ (parse(data.join("\n")));
          if (event?.type === "reader-replaced") return "replaced";
          if (event === null || !this.#accept(event)) return "closed";
        }
        if (this.#upgradeIsDue()) return "upgrade";
      }
      return this.#upgradeIsDue() ? "upgrade" : "ended";
    } catch {
      return this.#state === "sse" ? "closed" : "failed";
    } finally {
      connection.end();
    }
  }

  /** @returns {Promise<Ending>} */
  async #longPoll() {
    do {
      const connection = this.#deadline();
      connection.heard(SILENCE_MS);
      try {
        // The first poll does not wait, so that the page knows at once that this transport works.
        const wait = this.#state === "poll" ? Math.min(POLL_WAIT_S, this.#secondsToUpgrade()) : 0;
        const response = await this.#get(`after=${this.cursor}&wait=${wait}`, "application/json", connection.signal);
        if (response.status === REPLACED) return "replaced";
        if (this.#isFinal(response.status)) return "refused";
        if (!response.ok) return "failed";
        this.#fallBackTo("poll");
        /** @type {{events: SessionEvent[]}} */
        const { events } = await response.json();
        if (!events.every((event) => this.#accept(event))) return "closed";
      } catch {
        return this.#state === "poll" ? "closed" : "failed";
      } finally {
        connection.end();
      }
    } while (!this.#upgradeIsDue());
    return "upgrade";
  }

  /** @param {number} status */
  #isFinal(status) {
    if (!FINAL_STATUSES.has(status)) return false;
    this.#refusal = status;
    return true;
  }

  /** @param {"sse" | "poll"} transport */
  #fallBackTo(transport) {
    this.#upgradeAt ??= performance.now() + this.#upgradeAfterMs;
    this.#enter(transport);
  }

  #secondsToUpgrade() {
    return Math.max(0, Math.ceil(((this.#upgradeAt ?? Infinity) - performance.now()) / 1000));
  }

  #upgradeIsDue() {
    return this.#upgradeAt !== null && performance.now() > this.#upgradeAt;
  }

  /**
   * @param {string} query
   * @param {string} accept
   * @param {AbortSignal} signal
   */
  async #get(query, accept, signal) {
    try {
      const response = await fetch(`${this.urls.http}?${query}`, {
        headers: { Accept: accept, Authorization: `Bearer ${this.token}` },
        cache: "no-store",
        credentials: "omit",
        signal,
      });
      if (response.ok) this.origins.passed();
      else this.#retryAfterMs = Math.min(retryAfterOf(response) ?? 0, LONGEST_RETRY_AFTER_MS);
      return response;
    } catch (error) {
      if (error instanceof TypeError) void this.origins.suspect(this.urls.http);
      throw error;
    }
  }

  /** Return a signal that aborts when the channel stops or the server is silent for too long. */
  #deadline() {
    const controller = new AbortController();
    const abort = () => controller.abort();
    let timer = setTimeout(abort, OPENING_MS);
    const { signal } = this.#step;
    signal.addEventListener("abort", abort);
    return {
      signal: controller.signal,
      heard: (/** @type {number} */ ms) => {
        clearTimeout(timer);
        timer = setTimeout(abort, ms);
      },
      end: () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        controller.abort();
      },
    };
  }
}

/**
 * @param {string} text
 * @returns {{type: string} | null}
 */
function parse(text) {
  try {
    const event = JSON.parse(text);
    return typeof event?.type === "string" ? event : null;
  } catch {
    return null;
  }
}

/**
 * Yield the lines of each block of an event stream, with its comments.
 *
 * @param {ReadableStream<Uint8Array>} body
 */
async function* blocks(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    // A heartbeat may be a single comment line without a blank line after it, so every chunk yields something.
    rest += decoder.decode(value, { stream: true }).replaceAll("\r", "");
    const parts = rest.split("\n\n");
    rest = parts.pop() ?? "";
    if (parts.length === 0) yield [];
    for (const part of parts) yield part.split("\n");
  }
}

/*
 * <sbe-call>: a video call as one element. This file is the entry point `sbe-client/element`; see docs/sbe-client.md.
 */

import { CallOver, MediaError, SbeClient, SbeError } from "./sbe-client.js";
import { CallView, shortName } from "./sbe-call-view.js";
import { Ringer } from "./tones.js";

/**
 * @typedef {import("./sbe-client.js").Call} Call
 * @typedef {import("./sbe-client.js").Invitation} Invitation
 * @typedef {import("./sbe-client.js").Notice} Notice
 * @typedef {import("./sbe-client.js").Registration} Registration
 * @typedef {import("./sbe-client.js").RemoteParticipant} RemoteParticipant
 * @typedef {import("./sbe-client.js").Session} Session
 * @typedef {import("./sbe-client.js").Topology} Topology
 * @typedef {import("./sbe-call-view.js").Model} Model
 * @typedef {import("./sbe-call-view.js").TileModel} TileModel
 *
 * @typedef {(registration: Registration) => Session | Promise<Session>} Register
 * @typedef {(registration: Registration) => Session | null | Promise<Session | null>} OnTokenNeeded
 *
 * @typedef {object} SbeCallEvents the details of the events that the element dispatches
 * @property {{invitation: Invitation}} sbe-ringing
 * @property {{state: string, call: Call | null}} sbe-call
 * @property {{reason: string, call: Call}} sbe-ended
 * @property {{error: Error}} sbe-error
 */

// The module can be imported where there are no elements, for example when a server renders the page.
const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

const SESSION_OVER = "The session has ended.";

/** @type {Record<string, string>} */
const END_TEXTS = {
  "here": "",
  "hung-up": "The other side hung up.",
  "declined": "The call was declined.",
  "no-answer": "Nobody answered.",
  "removed": "The host has removed you.",
  "media-lost": "The connection was lost.",
  "not-placed": "The call could not be placed.",
  "not-answered": "The call could not be answered.",
  "session-over": SESSION_OVER,
  "session-expired": "The session of the other side has ended.",
  "ended-by-support": "Support staff ended the call.",
};

/** @type {Record<string, string>} */
const DEVICE_TEXTS = {
  refused: "is not allowed. Allow it in the browser's settings for this page.",
  missing: "was not found.",
  busy: "is used by another program.",
  failed: "could not be opened.",
};

export class SbeCall extends Base {
  static observedAttributes = ["to", "label", "video", "topology", "silent"];

  /** @type {OnTokenNeeded | null} */
  #onTokenNeeded = null;
  /** @type {Register | null} */
  #register = null;
  /** @type {Session | null} */
  #session = null;
  /** @type {SbeClient | null} */
  #client = null;
  /** Whether the element made the client, and so ends it. */
  #ownsClient = false;
  /** @type {CallView | null} */
  #view = null;
  /** Undo what the element has done to the client and the page. @type {(() => void)[]} */
  #undo = [];
  #ringer = new Ringer();
  #error = "";
  /** Whether the last attempt to get a session has failed. */
  #isFailed = false;
  #rang = "";
  #state = "offline";
  #isQueued = false;
  /** The last call whose end was reported. @type {Call | null} */
  #reported = null;

  // ── what the application sets ───────────────────────────────────────────

  /** The session that the application's back end returned, with its token. Null ends it. */
  get session() {
    return this.#session;
  }

  set session(session) {
    if (session === this.#session) return;
    this.#drop();
    this.#session = session;
    this.#start();
  }

  /** Asks the application's back end for a session, now and when a session has ended. In place of `session`. */
  get register() {
    return this.#register;
  }

  set register(register) {
    if (register === this.#register) return;
    this.#drop();
    this.#session = null;
    this.#register = register;
    this.#start();
  }

  /** Returns a new session for the same user when the session has ended, or null. */
  get onTokenNeeded() {
    return this.#onTokenNeeded;
  }

  set onTokenNeeded(ask) {
    this.#onTokenNeeded = ask;
  }

  /** A client that the application has made itself, and also ends itself. In place of `session`. */
  get client() {
    return this.#client;
  }

  set client(client) {
    if (client === this.#client) return;
    this.#drop();
    this.#session = null;
    this.#client = client;
    this.#start();
  }

  /** The user to call: a username, or a number as `tel:+15550100`. Several are separated by commas. */
  get to() {
    return this.getAttribute("to") ?? "";
  }

  set to(to) {
    this.setAttribute("to", to);
  }

  /** Whether calls begin with the camera. */
  get video() {
    return this.hasAttribute("video");
  }

  set video(video) {
    this.toggleAttribute("video", video);
  }

  /** Whether no tone is played while a call rings. */
  get silent() {
    return this.hasAttribute("silent");
  }

  set silent(silent) {
    this.toggleAttribute("silent", silent);
  }

  /** The topology of calls to one user. @returns {Topology} */
  get topology() {
    return this.getAttribute("topology") === "focus" ? "focus" : "peer";
  }

  set topology(topology) {
    this.setAttribute("topology", topology);
  }

  /** The text of the button that calls. */
  get label() {
    return this.getAttribute("label") ?? "";
  }

  set label(label) {
    this.setAttribute("label", label);
  }

  // ── the life of the element ─────────────────────────────────────────────

  connectedCallback() {
    // A framework may have set properties before the element was defined. They hide the accessors.
    for (const name of /** @type {const} */ (["onTokenNeeded", "client", "session", "register"])) this.#upgrade(name);
    this.#view ??= new CallView(this.shadowRoot ?? this.attachShadow({ mode: "open" }), {
      call: () => void this.#run(() => this.#call(this.#addressees())),
      accept: () => void this.#run(() => this.#answer()),
      decline: () => void this.#run(() => this.#decline()),
      hangUp: () => void this.#run(() => this.#hangUp()),
      mute: () => void this.#run(() => this.#toggleMicrophone()),
      camera: () => void this.#run(() => this.#toggleCamera()),
      screen: () => void this.#run(() => this.#toggleScreen()),
      hold: () => void this.#run(() => this.#toggleHold()),
      admit: () => void this.#run(() => this.#answerKnock((call, id) => call.admit(id))),
      deny: () => void this.#run(() => this.#answerKnock((call, id) => call.deny(id))),
      dismiss: () => this.#client?.dismiss(),
      closeError: () => this.#showError(""),
      retry: () => void this.#run(() => this.#connect()),
    });
    this.#start();
    this.#render();
  }

  disconnectedCallback() {
    // An element that is only moved within the page is connected again at once.
    queueMicrotask(() => {
      if (!this.isConnected) this.#stop();
    });
  }

  attributeChangedCallback() {
    this.#render();
  }

  /** @param {"onTokenNeeded" | "client" | "session" | "register"} name */
  #upgrade(name) {
    if (!Object.hasOwn(this, name)) return;
    const element = /** @type {Record<string, any>} */ (/** @type {unknown} */ (this));
    const value = element[name];
    delete element[name];
    element[name] = value;
  }

  /** Follow the client, if the element is in the page and has one. */
  #start() {
    if (!this.isConnected || !this.#view || this.#undo.length > 0) return;
    const [session, register] = [this.#session, this.#register];
    if ((session || register) && !this.#client) {
      this.#ownsClient = true;
      const ask = async (/** @type {Registration} */ registration) =>
        (this.#onTokenNeeded ?? register)?.(registration) ?? null;
      this.#client = new SbeClient({
        register: register ?? (async (registration) => (await ask(registration)) ?? sessionOver()),
        onTokenNeeded: ask,
      });
    }
    if (this.#client) this.#follow(this.#client);
    if (this.#ownsClient) void this.#run(() => this.#connect());
    this.#render();
  }

  /** Begin the session, or ask for a new one if the last attempt has failed. */
  async #connect() {
    const [client, session, wasFailed] = [this.#client, this.#session, this.#isFailed];
    this.#isFailed = false;
    try {
      if (session && !wasFailed) await client?.use(session);
      else await client?.register(session ? identityOf(session) : {});
    } catch (error) {
      if (client !== this.#client) return;
      this.#isFailed = true;
      throw error;
    }
  }

  /** @param {SbeClient} client */
  #follow(client) {
    const render = () => this.#render();
    this.#undo = [
      client.on("session", (session) => {
        if (session) this.#isFailed = false;
        if (this.#ownsClient && session) this.#session = session;
        render();
      }),
      client.on("channel", render),
      client.on("invitations", render),
      client.on("call", render),
      client.on("media", render),
      client.on("participants", render),
      client.media.on("change", render),
      client.on("notice", (notice) => this.#onNotice(notice)),
    ];
    if (!this.#ownsClient) return;
    const leave = () => client.farewell();
    addEventListener("pagehide", leave);
    this.#undo.push(() => removeEventListener("pagehide", leave));
  }

  /** End what the element has begun. It begins again if it is put into a page again. */
  #stop() {
    const client = this.#client;
    for (const undo of this.#undo.splice(0)) undo();
    this.#ringer.play(null);
    this.#isFailed = false;
    if (!client || !this.#ownsClient) return;
    client.media.closeAll();
    void client.unregister().catch(() => undefined);
    this.#client = null;
    this.#ownsClient = false;
    this.#state = "offline";
  }

  #drop() {
    this.#stop();
    this.#client = null;
    this.#error = "";
  }

  // ── what the application calls ──────────────────────────────────────────

  /**
   * Call a user, or several.
   *
   * @param {string | string[]} [to] by default the attribute `to`
   * @returns {Promise<void>} when the devices of the other side ring
   */
  call(to = this.#addressees()) {
    return this.#attempt(() => this.#call(typeof to === "string" ? [to] : to));
  }

  /** Accept the call that rings. Another call ends. @returns {Promise<void>} */
  answer() {
    return this.#attempt(() => this.#answer());
  }

  /** Decline the call that rings. @returns {Promise<void>} */
  decline() {
    return this.#attempt(() => this.#decline());
  }

  /** End the call. @returns {Promise<void>} */
  hangUp() {
    return this.#attempt(() => this.#hangUp());
  }

  // ── actions ─────────────────────────────────────────────────────────────

  get #media() {
    return this.#client?.media;
  }

  /** The current call, unless it is over. */
  get #active() {
    const call = this.#client?.currentCall;
    return call && call.state !== "ended" && call.state !== "moved" ? call : null;
  }

  /** @returns {Invitation | undefined} */
  get #invitation() {
    return this.#client?.invitations[0];
  }

  /** The addresses in the attribute `to`, without those of this user. */
  #addressees() {
    const { username, vtn, icmn } = this.#client?.session ?? {};
    return this.to
      .split(",")
      .map((each) => each.trim())
      .filter((each) => each && ![username, `tel:${vtn}`, `tel:${icmn}`].includes(each));
  }

  /** @param {string[]} to */
  async #call(to) {
    const client = this.#client;
    if (!client?.session) throw new SbeError("Set the property `register`, `session` or `client` first.");
    if (to.length === 0) throw new SbeError("Set the attribute `to` to the user to call.");
    if (this.#active) throw new SbeError("There is already a call.");
    const { video } = this;
    await this.#openMedia(video);
    await this.#orCloseMedia(() =>
      to.length > 1 ? client.startConference({ to, video }) : client.call(to[0], { video, topology: this.topology }),
    );
  }

  async #answer() {
    const [client, invitation] = [this.#client, this.#invitation];
    if (!client || !invitation) throw new SbeError("No call rings.");
    const { confId, reason, media, video } = invitation;
    // The own call that nobody has answered ends only when the invitation is answered.
    if (this.#active && this.#active !== client.unansweredCall) await this.#active.hangUp();
    await this.#openMedia(media.video);
    // After a move, the other side's video continues even if this user sent none.
    await this.#orCloseMedia(() => client.answer(confId, { video: video || reason === "move" }));
  }

  async #decline() {
    if (this.#invitation) await this.#client?.decline(this.#invitation.confId);
  }

  async #hangUp() {
    await this.#active?.hangUp();
  }

  async #toggleMicrophone() {
    const isMuted = !this.#media?.microphone || this.#media.muted;
    if (isMuted) await this.#media?.openMicrophone();
    await this.#active?.mute({ audio: !isMuted });
  }

  async #toggleCamera() {
    if (this.#media?.camera) await this.#active?.stopVideo();
    else await this.#active?.addVideo();
  }

  async #toggleScreen() {
    if (this.#media?.screen) await this.#active?.stopScreen();
    else await this.#active?.shareScreen();
  }

  async #toggleHold() {
    if (this.#active?.state === "on-hold") await this.#active.resume();
    else await this.#active?.hold();
  }

  /** @param {(call: Call, id: string) => Promise<void>} answer */
  async #answerKnock(answer) {
    const [call, [knock]] = [this.#active, this.#active?.knocks ?? []];
    if (call && knock) await answer(call, knock.id);
  }

  /** Open the microphone, and the camera if it works: a call without a picture is better than none. @param {boolean} video */
  async #openMedia(video) {
    await this.#media?.openMicrophone();
    if (video) await this.#media?.openCamera().catch((error) => this.#onError(error));
  }

  /** @param {() => Promise<void>} start */
  async #orCloseMedia(start) {
    try {
      await start();
    } catch (error) {
      if (!this.#active) this.#media?.closeAll();
      throw error;
    }
  }

  /** Run an action of the user: a failure is shown. @param {() => Promise<unknown>} action */
  async #run(action) {
    await this.#attempt(action).catch(() => undefined);
  }

  /** Run an action of the application, which also gets the error. @param {() => Promise<unknown>} action */
  async #attempt(action) {
    this.#showError("");
    try {
      await action();
    } catch (error) {
      // The user hung up, or closed the browser's picker of screens.
      const isWanted =
        error instanceof CallOver ||
        (error instanceof MediaError && error.device === "screen" && error.reason === "refused");
      if (isWanted) return;
      this.#onError(error);
      throw error;
    }
  }

  // ── events ──────────────────────────────────────────────────────────────

  /** @param {Notice} notice */
  #onNotice({ code, error }) {
    if (code === "session-over") {
      this.#isFailed = true;
      this.#onError(error ?? new SbeError(SESSION_OVER));
    } else if (error instanceof Error && !(error instanceof CallOver)) this.#onError(error);
  }

  /** @param {unknown} cause */
  #onError(cause) {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    const text = textOf(error);
    if (text === "") console.error(error);
    this.#showError(text || (this.#isFailed ? "Calls are not available at the moment." : "This did not work."));
    this.#dispatch("sbe-error", { error });
  }

  /** @param {string} text */
  #showError(text) {
    this.#error = text;
    this.#render();
  }

  /**
   * @template {keyof SbeCallEvents} T
   * @param {T} type
   * @param {SbeCallEvents[T]} detail
   */
  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }

  // ── what is shown ───────────────────────────────────────────────────────

  /** Show the present state, once for all changes of this turn. */
  #render() {
    if (this.#isQueued) return;
    this.#isQueued = true;
    queueMicrotask(() => {
      this.#isQueued = false;
      if (!this.isConnected) return;
      this.#view?.update(this.#model());
      this.#ring();
      this.#report();
    });
  }

  /** Play the tone for the present state. */
  #ring() {
    const isWaiting = this.#client?.callState === "calling" && this.#client.currentCall?.confId !== null;
    this.#ringer.play(this.silent ? null : this.#invitation ? "incoming" : isWaiting ? "waiting" : null);
  }

  /** Dispatch the events of what has changed. */
  #report() {
    const [client, invitation] = [this.#client, this.#invitation];
    const ringing = invitation?.confId ?? "";
    if (ringing !== this.#rang) {
      this.#rang = ringing;
      if (invitation) this.#dispatch("sbe-ringing", { invitation });
    }
    const state = client?.session ? client.callState : "offline";
    const call = client?.currentCall ?? null;
    if (state !== this.#state) {
      this.#state = state;
      this.#dispatch("sbe-call", { state, call });
    }
    if (call?.state === "ended" && call !== this.#reported) {
      this.#reported = call;
      this.#dispatch("sbe-ended", { reason: call.endReason, call });
    }
  }

  /** @returns {Model} */
  #model() {
    const client = this.#client;
    const media = client?.media;
    const call = client?.currentCall ?? null;
    const state = client?.session ? client.callState : call?.state === "ended" ? "ended" : "offline";
    const others = call?.others ?? [];
    const ringing = this.#invitation?.username ?? "";
    const addressees = this.#addressees();
    const name = state === "ringing" ? ringing : (call?.other?.username ?? call?.addresses[0] ?? addressees[0] ?? "");
    const onHold = state === "on-hold";
    const isMuted = !media?.microphone || media.muted;
    return {
      state,
      inCall: ["open", "on-hold", "held"].includes(state),
      name,
      ...this.#words(state, name),
      canRetry: this.#isFailed && this.#ownsClient && Boolean(this.#register ?? this.#onTokenNeeded),
      callLabel: client?.session && addressees.length > 0 ? this.label || `Call ${addressees.join(", ")}` : "",
      ringing,
      knocking: call?.knocks[0]?.username ?? "",
      error: this.#error,
      tiles: others.flatMap((other) => tilesOf(other, onHold)),
      self: {
        id: "self",
        name: media?.screen ? "You, sharing" : "You",
        username: client?.session?.username ?? "",
        picture: onHold ? null : (media?.camera ?? null),
        sound: null,
        isScreen: false,
        speaking: false,
        muted: isMuted,
        veil: "",
      },
      muted: isMuted,
      camera: Boolean(media?.camera),
      screen: Boolean(media?.screen),
      canShare: Boolean(navigator.mediaDevices?.getDisplayMedia),
      onHold,
    };
  }

  /** @param {string} state @param {string} name */
  #words(state, name) {
    const call = this.#client?.currentCall;
    switch (state) {
      case "offline":
        return { title: this.#client && !this.#isFailed ? "Connecting…" : "Not connected", detail: "" };
      case "ringing": {
        const kind =
          this.#invitation?.reason === "move"
            ? "Move the call here?"
            : this.#invitation?.video
              ? "Video call"
              : "Audio call";
        return { title: `${name} is calling`, detail: kind };
      }
      case "calling":
        if (call?.conference?.access === "open")
          return { title: "Nobody else is here yet", detail: "Waiting for others to join" };
        return { title: `Calling ${call?.addresses.join(", ") || name}`, detail: "Waiting for an answer" };
      case "moving":
        return { title: "Moving the call", detail: "Your other devices ring." };
      case "moved":
        return { title: "The call goes on elsewhere", detail: this.#movedTo };
      case "ended":
        if (call && hasLeft(call)) return { title: "You left", detail: "The others are still in the call." };
        return { title: "Call ended", detail: END_TEXTS[call?.endReason ?? ""] ?? "" };
      case "on-hold":
        return { title: "You put the call on hold", detail: "" };
      case "held":
        return { title: `${name} put the call on hold`, detail: "" };
      case "open":
        return { title: `In a call with ${call?.others.map(({ username }) => username).join(", ")}`, detail: "" };
      default:
        return { title: name || "Ready for calls", detail: this.#readiness };
    }
  }

  /** The name of the device that has taken over the call. It is empty if this device has the same name. */
  get #movedTo() {
    const name = this.#client?.currentCall?.movedTo;
    return name && name !== this.#client?.session?.device ? name : "";
  }

  get #readiness() {
    const channel = this.#client?.channelState;
    if (channel === "replaced") return "Other pages use this session.";
    if (channel === "offline" || channel === "connecting") return "Connecting…";
    return this.#addressees().length > 0 ? "Ready" : "";
  }
}

/** @param {RemoteParticipant} participant @param {boolean} onHold whether this side is on hold @returns {TileModel[]} */
function tilesOf(participant, onHold) {
  const { id, username, state, muted, speaking, away, interrupted, receiving, noMicrophone = false } = participant;
  const { audio, camera, screen, paused } = participant;
  const holds = state === "on-hold";
  // The tile's caption has the full name.
  const short = shortName(username);
  const veil = onHold
    ? "You put the call on hold"
    : holds
      ? `${short} put the call on hold`
      : state === "moving"
        ? `${short} is moving to another device`
        : state === "invited"
          ? "Calling…"
          : away
            ? `${short} is away`
            : interrupted || receiving === "silent"
              ? "Reconnecting…"
              : "";
  const person = {
    id,
    name: username,
    // A camera that is on hold gives black pictures.
    picture: state === "accepted" ? camera : null,
    sound: audio,
    isScreen: false,
    speaking: speaking && veil === "",
    muted: muted.audio || noMicrophone,
    veil: veil || pauseOf(camera && paused?.camera),
  };
  if (!screen) return [person];
  const shared = {
    ...person,
    id: `${id} screen`,
    name: `Screen of ${username}`,
    picture: screen,
    sound: null,
    isScreen: true,
    veil: veil || pauseOf(paused?.screen),
  };
  return [{ ...shared, speaking: false, muted: false }, person];
}

/** @param {boolean | null | undefined} isPaused */
const pauseOf = (isPaused) => (isPaused ? "Paused: slow connection" : "");

/** Whether this side has left a conference that goes on without it. @param {Call} call */
function hasLeft({ endReason, hasFocus, me, others, conference }) {
  return (
    endReason === "here" && hasFocus && me?.role === "guest" && (others.length > 1 || conference?.access === "open")
  );
}

/** @param {Error} error */
function textOf(error) {
  if (error instanceof MediaError) return `The ${error.device} ${DEVICE_TEXTS[error.reason]}`;
  // Users get no text of an error of JavaScript or the browser.
  return error instanceof SbeError || error.name === "Error" ? error.message : "";
}

/** @param {Session} session */
function identityOf({ username, vtn, icmn, device }) {
  return { username, ...(vtn ? { vtn } : {}), ...(icmn ? { icmn } : {}), ...(device ? { device } : {}) };
}

/** @returns {never} */
function sessionOver() {
  throw new SbeError(SESSION_OVER);
}

if (globalThis.customElements && !customElements.get("sbe-call")) customElements.define("sbe-call", SbeCall);

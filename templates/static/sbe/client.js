import { BackEnd } from "./back-end.js";
import { Call } from "./call.js";
import { EventChannel } from "./channel.js";
import { Emitter } from "./emitter.js";
import { Refusal, SbeError, SessionOver } from "./errors.js";
import { OwnKnock } from "./lobby.js";
import { LocalMedia } from "./media.js";
import { claim, forget, recall, remember } from "./memory.js";
import { OriginCheck } from "./origin.js";
import { Rest, randomKey } from "./rest.js";
import { SerialQueue, backOff } from "./waiting.js";

/**
 * @typedef {import("./types.js").Conference} Conference
 * @typedef {import("./types.js").DevServer} DevServer
 * @typedef {import("./types.js").Identity} Identity
 * @typedef {import("./types.js").Registered} Registered
 * @typedef {import("./types.js").Registration} Registration
 * @typedef {import("./types.js").SentMedia} SentMedia
 * @typedef {import("./types.js").Session} Session
 * @typedef {import("./types.js").Trace} Trace
 * @typedef {import("./event-types.js").SessionEvent} SessionEvent
 * @typedef {import("./event-types.js").InvitationReceived} InvitationReceived
 * @typedef {import("./channel.js").ChannelState} ChannelState
 * @typedef {import("./call.js").CallState} ClientCallState
 * @typedef {import("./call.js").Notice} Notice
 * @typedef {import("./call.js").Outcome} Outcome
 * @typedef {import("./call.js").RemoteParticipant} RemoteParticipant
 * @typedef {import("./call.js").Topology} Topology
 * @typedef {import("./chat.js").ChatMessage} ChatMessage
 * @typedef {import("./peer.js").RemoteMedia} RemoteMedia
 * @typedef {import("./lobby.js").KnockState} KnockState
 *
 * @typedef {{type: string, seq?: number, confId?: string, at?: string, modId?: string, kind?: string, reason?: string,
 *   description?: import("./types.js").Description, participant?: import("./types.js").Participant | string,
 *   conference?: Conference, from?: import("./types.js").Origin}} AnyEvent an event, with the fields of all types
 *
 * @typedef {object} Invitation
 * @property {string} confId
 * @property {"call" | "move"} reason
 * @property {string} username the caller; for a move, the other participant of the call
 * @property {string[]} with the other participants, present or invited
 * @property {SentMedia} media what the caller sends; for a move, what this user sent on the device that they leave
 * @property {boolean} video whether the caller sends a camera or a screen
 * @property {string} ringsUntil
 * @property {InvitationReceived} event
 *
 * @typedef {object} ClientEvents
 * @property {Session | null} session after it was registered or refreshed; null when it has ended
 * @property {ChannelState} channel
 * @property {Invitation[]} invitations all ringing invitations, after any change
 * @property {Call | null} call the current call, after any change of it
 * @property {RemoteMedia} media the other side's tracks; in a conference, those of the first other participant
 * @property {RemoteParticipant[]} participants the other participants with their tracks, after any change
 * @property {ChatMessage[]} chat all messages, after a new one, and when the channel opens or closes
 * @property {KnockState | null} knock the state of this side's own knock at a locked conference
 * @property {Notice} notice
 * @property {Trace} trace one request, event or change of the channel
 */

// After these refusals of a refresh, the session is over. FORBIDDEN: a new session would be refused in the same way.
const SESSION_OVER = [401, 403, 404];
const FORBIDDEN = 403;
// An older enabler does not say which media the caller sends.
const UNKNOWN_MEDIA = { audio: true, video: true, screen: false };
const NOT_ALLOWED = "This page may not use the call server. The console has the reason.";
const WAITING_TASKS = 512;
const LONGEST_TIMER_MS = 6 * 3_600_000;

/**
 * One registered endpoint of the enabler: its session, its event channel, and at most one call.
 *
 * @extends {Emitter<ClientEvents>}
 */
export class SbeClient extends Emitter {
  /** Whether to ask the user before accepting the other side's modifications. Otherwise they are accepted at once. */
  askBeforeAccepting = false;
  /**
   * The direction that a hold offers. The design sheet says `recvonly`: the holder still receives.
   *
   * @type {"recvonly" | "inactive"}
   */
  holdDirection = "recvonly";
  /** @type {Session | null} */
  session = null;
  /** @type {Call | null} */
  currentCall = null;
  /** This side's unanswered call, while another call is about to replace it. @type {Call | null} */
  #replaced = null;
  /**
   * The conference that the page was in before its reload. Call `rejoin()` or `leave()` to settle it.
   *
   * @type {Conference | null}
   */
  rejoinable = null;
  media = new LocalMedia();

  /** @type {Map<string, Invitation>} */
  #invitations = new Map();
  #queue = new SerialQueue(WAITING_TASKS);
  #origins = new OriginCheck();
  #rest;
  #backEnd;
  #onTokenNeeded;
  #fixedEnabler;
  #ownKnock;
  /** @type {EventChannel | null} */
  #channel = null;
  /** The `seq` of the last event that was handled. */
  #handled = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #refreshTimer;
  #rejoining = false;
  /** Identifies the latest attempt to start a session. A later attempt, or `unregister`, abandons it. */
  #attempt = {};
  /** Whether `onTokenNeeded` returned the session, and the enabler has not accepted it yet. */
  #isUntried = false;
  /** Settles when the latest request for a new session has ended. It never fails. @type {Promise<void> | undefined} */
  #renewal;

  /**
   * Sessions come from `register`, or from a Dev Server, or from `use(session)` alone.
   *
   * @param {object} [options]
   * @param {string} [options.enabler] base URL of the enabler; by default, the session's event addresses tell it
   * @param {string | DevServer} [options.devServer] the application's back end, which registers sessions for its users
   * @param {(registration: Registration) => Session | Promise<Session>} [options.register] asks the application's back
   *   end for a session in any other way, and returns the enabler's answer to `POST /sessions`. The client calls it once
   *   for each `register()`, and passes its errors on.
   * @param {(registration: Registration) => Session | null | Promise<Session | null>} [options.onTokenNeeded] called
   *   when the session has ended, for example while the computer slept. It returns a new session for the same user, or
   *   null. It may take as long as it needs, for example to ask for a password.
   */
  constructor({ enabler, devServer, register, onTokenNeeded } = {}) {
    super();
    const trace = (/** @type {Trace} */ trace) => this.emit("trace", trace);
    this.#fixedEnabler = enabler?.replace(/\/$/, "") ?? null;
    this.enabler = this.#fixedEnabler ?? "";
    this.#backEnd = new BackEnd({ devServer, register, trace });
    this.#onTokenNeeded = onTokenNeeded ?? null;
    this.#rest = new Rest({
      trace,
      onAnswer: () => this.#origins.passed(),
      onFailure: (url) => void this.#origins.suspect(url),
      renew: (token) => this.#renewed(token),
    });
    this.#ownKnock = new OwnKnock({
      rest: this.#rest,
      conferencesUrl: () => this.#conferencesUrl,
      onChange: (state) => this.emit("knock", state),
    });
    this.media.on("screen-ended", () => void this.#quietly(async () => void (await this.currentCall?.stopScreen())));
  }

  get channelState() {
    return this.#channel?.state ?? "offline";
  }

  /** Receive events again, after newer connections of the session have replaced this page's connection. */
  resumeEvents() {
    this.#channel?.resume();
  }

  get invitations() {
    return [...this.#invitations.values()];
  }

  /** @returns {ClientCallState | "idle" | "ringing"} */
  get callState() {
    if (this.currentCall && this.currentCall.state !== "ended") return this.currentCall.state;
    if (this.#invitations.size > 0) return "ringing";
    return this.currentCall?.state ?? "idle";
  }

  /** The identity that this tab had before a reload. `restore()` brings it back. @returns {Identity | null} */
  get remembered() {
    const session = recall()?.session;
    return session ? identityOf(session) : null;
  }

  // ── registering ─────────────────────────────────────────────────────────

  /**
   * Register this endpoint through the application's back end, and keep its event channel open until `unregister`.
   *
   * @param {Partial<Identity>} [identity] empty if the back end knows who is logged in
   * @throws {Refusal | NetworkError} and what the application's `register` throws
   */
  async register(identity = {}) {
    if (this.session) throw new SbeError("Already registered.");
    const attempt = (this.#attempt = {});
    await this.#start(await this.#backEnd.register(identity), attempt);
  }

  /**
   * Ask the back end for another session of the same user, and do not start with it: for `onTokenNeeded`.
   *
   * @param {Partial<Identity>} identity
   * @throws {Refusal | NetworkError} and what the application's `register` throws
   */
  newSession(identity) {
    return this.#backEnd.register(identity);
  }

  /**
   * Start with a session that the application's back end has registered already.
   *
   * @param {Session} session the enabler's answer to `POST /sessions`, with its token
   */
  async use(session) {
    if (this.session) throw new SbeError("Already registered.");
    await this.#start(session, (this.#attempt = {}));
  }

  /**
   * Continue the session that this tab had before a reload, if it has not ended.
   *
   * @returns {Promise<boolean>} whether there was one
   */
  async restore() {
    const remembered = recall();
    if (remembered === null || !(await claim(remembered.session.id))) return false;
    const { session, cursor } = remembered;
    this.#rest.token = session.token;
    this.enabler = this.#enablerOf(session);
    try {
      const url = `${this.enabler}/sessions/${session.id}`;
      const { body } = await this.#rest.send({ method: "PUT", url, body: {}, budgetMs: 5_000 });
      this.#begin({ ...session, ...body, token: session.token }, cursor);
    } catch (error) {
      this.#rest.token = null;
      if (!(error instanceof Refusal)) throw error;
      forget();
      return false;
    }
    await this.#queue.run(() => this.#findOwnConference());
    return true;
  }

  /** End the session. The enabler then makes the session leave its conferences. */
  async unregister() {
    this.#attempt = {};
    const { session } = this;
    if (!session) return;
    const url = `${this.enabler}/sessions/${session.id}`;
    await this.currentCall?.hangUp().catch(() => undefined);
    try {
      await this.#rest.send({ method: "DELETE", url });
    } finally {
      this.#forgetSession();
    }
  }

  /**
   * Say goodbye when the page goes away. An idle session ends, so that no call rings on a closed tab. A session in a
   * call becomes away, because the page may only be reloading. The other participants learn of this at once.
   */
  farewell() {
    const { session } = this;
    if (!session) return;
    const isIdle =
      !this.rejoinable && this.#invitations.size === 0 && ["idle", "ended", "moved"].includes(this.callState);
    const url = `${this.enabler}/sessions/${session.id}`;
    const headers = { Authorization: `Bearer ${session.token}` };
    // The channel must not notice the end of the session: the client would register again.
    if (isIdle) this.#channel?.stop();
    const goodbye = isIdle
      ? fetch(url, { method: "DELETE", headers, keepalive: true })
      : fetch(`${url}/away`, { method: "POST", headers, keepalive: true });
    goodbye.catch(() => undefined);
  }

  /** Return the sessions that are registered now, as the Dev Server lists them. @returns {Promise<Registered[]>} */
  people() {
    return this.#backEnd.people();
  }

  /**
   * Return the conferences of the user's missed calls, newest first: those that no device has answered or declined.
   *
   * @returns {Promise<Conference[]>}
   */
  async missedCalls() {
    const url = `${this.#conferencesUrl}?missed=true`;
    return (await this.#rest.send({ method: "GET", url, quiet: true })).body.conferences;
  }

  // ── calls ───────────────────────────────────────────────────────────────

  /**
   * Call one address, and send the tracks that are open in `client.media`. Media flows from browser to browser, unless
   * the topology is `focus`.
   *
   * @param {string} to a username, or a number as `tel:+15550100`
   * @param {{video?: boolean, name?: string, topology?: Topology}} [options]
   */
  async call(to, { video = true, name, topology = "peer" } = {}) {
    await this.#newCall().invite([to], { video, name, topology });
  }

  /**
   * Start a conference through the enabler's focus. With access `open`, `to` may be empty: users then join with `join`
   * and the conference's `confId`.
   *
   * @param {{to?: string[], topology?: Topology, access?: "invited" | "open", name?: string, video?: boolean}} options
   */
  async startConference({ to = [], topology = "focus", access = "invited", name, video = true }) {
    await this.#newCall().invite(to, { video, name, topology, access });
  }

  /**
   * Join an open conference.
   *
   * @param {string} confId
   * @param {{video?: boolean}} [options]
   */
  async join(confId, { video = true } = {}) {
    const call = this.#newCall();
    this.#silence(confId);
    await call.join(confId, { video });
    this.#ownKnock.forget();
  }

  /** The state of this side's own knock at a locked conference, or `null`. @returns {KnockState | null} */
  get knockState() {
    return this.#ownKnock.state;
  }

  /**
   * Ask the host of a locked conference for admission. The event `knock` reports the answer. If this side was admitted,
   * `join` the conference within a minute.
   *
   * @param {string} confId
   */
  async knock(confId) {
    if (!this.session) throw new SessionOver("Register first.");
    await this.#ownKnock.knock(confId);
  }

  /** Take this side's own knock back. */
  async withdrawKnock() {
    await this.#ownKnock.withdraw();
  }

  /**
   * Answer an invitation.
   *
   * @param {string} confId of an invitation that rings
   * @param {{video?: boolean}} [options] `video` matters only for a move, where this side offers
   */
  async answer(confId, { video = true } = {}) {
    const invitation = this.#invitations.get(confId);
    if (!invitation) throw new SbeError("The call no longer rings.");
    // This side's own unanswered call ends only once the invitation is answered. If the callee answers that call at the
    // same moment, the enabler refuses the answer to the invitation. This side's own call then goes on.
    const own = this.unansweredCall;
    const call = this.#newCall(own);
    this.#replaced = own;
    this.#silence(confId);
    try {
      await call.answer(invitation.event, { video });
    } catch (error) {
      if (own && !isOver(own)) this.currentCall = own;
      throw error;
    } finally {
      this.#replaced = null;
      this.emit("call", this.currentCall);
    }
    if (own && !isOver(own)) void this.#quietly(() => own.hangUp());
  }

  /** @param {string} confId */
  async decline(confId) {
    this.#silence(confId);
    await this.#rest.send({ method: "DELETE", url: `${this.#conferencesUrl}/${confId}` });
  }

  /** Come back to the conference that a reload interrupted, with a new connection. */
  async rejoin() {
    const conference = this.rejoinable;
    if (!conference || this.#rejoining) return;
    this.#rejoining = true;
    try {
      const { body } = await this.#rest.send({ method: "GET", url: `${this.#conferencesUrl}/${conference.id}` });
      this.rejoinable = null;
      await this.#newCall().rejoin(body);
    } finally {
      this.#rejoining = false;
      this.emit("call", this.currentCall);
    }
  }

  /** Leave the conference that a reload interrupted. */
  async leave() {
    const conference = this.rejoinable;
    this.rejoinable = null;
    this.emit("call", this.currentCall);
    if (conference) await this.#rest.send({ method: "DELETE", url: `${this.#conferencesUrl}/${conference.id}` });
  }

  /** Forget a call that has ended or was moved. */
  dismiss() {
    if (this.currentCall?.state !== "ended" && this.currentCall?.state !== "moved") return;
    this.currentCall = null;
    this.emit("call", null);
  }

  /** The current call, if this side placed it and nobody has answered yet. */
  get unansweredCall() {
    return this.callState === "calling" && this.currentCall?.placed ? this.currentCall : null;
  }

  get #conferencesUrl() {
    return `${this.enabler}/mediaConferences`;
  }

  /** @param {Call | null} [replaced] the current call, if the new one may replace it */
  #newCall(replaced = null) {
    const { session } = this;
    if (!session) throw new SessionOver("Register first.");
    if (this.currentCall && this.currentCall !== replaced && !isOver(this.currentCall))
      throw new SbeError("There is already a call.");
    // A call that begins while the session ends belongs to the next session.
    const now = () => this.session ?? session;
    const call = new Call({
      rest: this.#rest,
      conferencesUrl: this.#conferencesUrl,
      session: now,
      media: this.media,
      queue: this.#queue,
      preferences: this,
      connect: () => new RTCPeerConnection({ iceServers: now().iceServers, bundlePolicy: "max-bundle" }),
      closeMedia: () => this.#closeMedia(),
    });
    this.currentCall = call;
    /** @type {<T extends keyof ClientEvents>(type: T, payload: ClientEvents[T]) => void} */
    const tell = (type, payload) => {
      if (call === this.currentCall) this.emit(type, payload);
    };
    let told = "";
    const tellParticipants = () => {
      const { others } = call;
      const now = JSON.stringify(
        others.map(({ audio, camera, screen, ...rest }) => [rest, audio?.id, camera?.id, screen?.id]),
      );
      if (now !== told) tell("participants", others);
      told = now;
    };
    call.on("change", () => {
      tell("call", call);
      tellParticipants();
    });
    call.on("media", (remote) => {
      tell("media", remote);
      tellParticipants();
    });
    call.chat.on("change", () => tell("chat", call.chat.messages));
    call.on("notice", (notice) => tell("notice", notice));
    this.emit("call", call);
    return call;
  }

  /** While one call replaces another, both use the media. The call that ends last closes the media. */
  #closeMedia() {
    if ([this.currentCall, this.#replaced].every((call) => call === null || isOver(call))) this.media.closeAll();
  }

  // ── events ──────────────────────────────────────────────────────────────

  /**
   * @param {Session} session a new one
   * @param {object} attempt
   * @throws {SessionOver} if the attempt was abandoned meanwhile
   */
  async #start(session, attempt) {
    if (!session?.id || !session.token || !session.events)
      throw new SbeError("Pass on the enabler's answer to POST /sessions, with its token.");
    await claim(session.id);
    if (attempt !== this.#attempt) {
      this.#discard(session);
      throw new SessionOver("The page no longer wants this session.");
    }
    this.enabler = this.#enablerOf(session);
    this.#begin(session, 0);
  }

  /** @param {Session} session */
  #enablerOf({ id, events }) {
    if (this.#fixedEnabler !== null) return this.#fixedEnabler;
    const length = events.http.lastIndexOf(`/sessions/${id}/events`);
    if (length < 0) throw new SbeError("The session does not tell the enabler's address: set the option `enabler`.");
    return events.http.slice(0, length);
  }

  /** @param {Session} session @param {number} cursor */
  #begin(session, cursor) {
    this.session = session;
    this.#rest.token = session.token;
    this.#handled = cursor;
    this.#save();
    this.#scheduleRefresh();
    const channel = new EventChannel({
      urls: session.events,
      token: session.token,
      cursor,
      deliver: (event) => this.#deliver(event),
      backlog: () => this.#queue.length,
      onState: (state) => this.#onChannel(state),
      onRefused: (status) => this.#onSessionOver(status),
      trace: (trace) => this.emit("trace", trace),
      origins: this.#origins,
    });
    this.#channel = channel;
    void channel.start();
    this.emit("session", session);
  }

  /** @param {ChannelState} state */
  #onChannel(state) {
    this.emit("channel", state);
    if (state === "offline" || state === "connecting" || state === "replaced") return;
    this.#isUntried = false;
    // The events of the new connection are handled in the queue. Reconcile the descriptions after them, if an answer
    // was lost.
    void this.#quietly(async () => void (await this.currentCall?.reconcile()));
  }

  /** @param {SessionEvent} event */
  #deliver(event) {
    this.emit("trace", traceOf(event));
    this.#queue
      .run(() => this.#handle(event))
      .catch((error) => this.emit("notice", { code: "event-failed", error }))
      .finally(() => {
        if ("seq" in event) this.#handled = event.seq;
        this.#save();
      });
  }

  /** @param {SessionEvent} event */
  async #handle(event) {
    if (event.type === "gap") return this.#findOwnConference();
    if (event.type === "invitation-received") return this.#ring(event);
    if (event.type === "knock-answered") return this.#ownKnock.learn(event);
    const { confId } = event;
    if (event.type === "invitation-cancelled" || event.type === "session-terminated")
      this.#silence(confId, event.reason);
    if (event.type === "session-terminated" && this.rejoinable?.id === confId) {
      this.rejoinable = null;
      this.emit("call", this.currentCall);
    }
    for (const call of [this.currentCall, this.#replaced]) if (call?.confId === confId) await call.handle(event);
  }

  /** @param {InvitationReceived} event */
  async #ring(event) {
    const { conference, confId, reason, from, media = UNKNOWN_MEDIA, ringsUntil } = event;
    if (!(await this.#stillRings(event))) return;
    if (this.currentCall?.confId === confId && !isOver(this.currentCall)) return;
    const others = conference.participants.filter(
      ({ id, state, username }) => id !== from.participant && state !== "left" && !this.#isMe(username),
    );
    const [peer] = others;
    this.#invitations.set(confId, {
      confId,
      reason,
      username: (reason === "move" ? peer?.username : from.username) ?? from.username ?? "",
      with: others
        .filter((each) => reason === "call" || each !== peer)
        .map(({ username }) => username)
        .filter(Boolean),
      media,
      video: media.video || media.screen,
      ringsUntil,
      event,
    });
    this.emit("invitations", this.invitations);
  }

  /**
   * Whether the enabler still counts an invitation as ringing. After a reload or an outage, old invitations are read
   * again. Their `ringsUntil` does not tell: the invitation may be answered, and this computer's clock may be wrong.
   *
   * @param {InvitationReceived} event
   */
  async #stillRings({ confId, reason, participant }) {
    const url = `${this.#conferencesUrl}/${confId}`;
    try {
      const { body } = await this.#rest.send({ method: "GET", url, budgetMs: 0, quiet: true });
      const now = /** @type {Conference} */ (body).participants.find(({ id }) => id === participant.id);
      return now?.state === (reason === "move" ? "moving" : "invited");
    } catch (error) {
      // If the enabler cannot answer now, the device rings: a missed call is worse than an old one.
      return !(error instanceof Refusal && error.status === 404);
    }
  }

  /** @param {string} username */
  #isMe(username) {
    return username === this.session?.username;
  }

  /** @param {string} confId @param {string} [reason] */
  #silence(confId, reason) {
    const invitation = this.#invitations.get(confId);
    if (!invitation) return;
    this.#invitations.delete(confId);
    this.emit("invitations", this.invitations);
    if (reason)
      this.emit("notice", { code: "invitation-cancelled", reason, kind: invitation.reason, who: invitation.username });
  }

  /** Read this side's conference from the enabler, after a reload or after events were lost. */
  async #findOwnConference() {
    if (this.currentCall && this.currentCall.state !== "ended") return this.currentCall.reread();
    const { body } = await this.#rest.send({ method: "GET", url: this.#conferencesUrl });
    const mine = /** @type {Conference[]} */ (body.conferences).filter(({ participants }) =>
      participants.some(
        (each) => each.sessionId === this.session?.id && each.state !== "left" && each.state !== "invited",
      ),
    );
    this.rejoinable = mine.find(({ state }) => state === "session-open") ?? null;
    // If the page went away while its call was still ringing, the call has lost its offer. Nobody can answer such a
    // call any more.
    const orphan = mine.find(({ state }) => state === "invitation-sent");
    if (orphan) await this.#rest.send({ method: "DELETE", url: `${this.#conferencesUrl}/${orphan.id}` });
    this.emit("call", this.currentCall);
  }

  // ── the session's life ──────────────────────────────────────────────────

  #scheduleRefresh(attempt = 0) {
    clearTimeout(this.#refreshTimer);
    const { session } = this;
    if (!session) return;
    const left = Date.parse(session.expiresAt) - Date.now();
    const wait = attempt === 0 ? left / 2 : backOff(attempt, { baseMs: 1_000, capMs: Math.max(1_000, left / 4) });
    this.#refreshTimer = setTimeout(
      () => void this.#refresh(attempt),
      Math.min(Math.max(wait, 1_000), LONGEST_TIMER_MS),
    );
  }

  /** @param {number} attempt */
  async #refresh(attempt) {
    const { session } = this;
    if (!session) return;
    try {
      const { body } = await this.#rest.send({
        method: "PUT",
        url: `${this.enabler}/sessions/${session.id}`,
        body: {},
      });
      if (this.session?.id !== session.id) return;
      this.session = { ...session, ...body, token: session.token };
      this.#save();
      this.#scheduleRefresh();
    } catch (error) {
      if (error instanceof Refusal && SESSION_OVER.includes(error.status)) return this.#onSessionOver(error.status);
      this.#scheduleRefresh(attempt + 1);
    }
  }

  /** @param {number} status with which the enabler refused the session */
  #onSessionOver(status) {
    const { session } = this;
    if (!session) return;
    // A renewed session that never worked would be renewed again and again.
    const mayRenew = status !== FORBIDDEN && !this.#isUntried;
    for (const call of [this.currentCall, this.#replaced]) call?.abandon("session-over");
    this.#dropSession();
    if (this.#onTokenNeeded && mayRenew) this.#renewal = this.#renew(session, this.#onTokenNeeded);
    else this.#announceEnd(status === FORBIDDEN ? new SbeError(NOT_ALLOWED) : undefined);
  }

  /**
   * Wait until the session of a refused token is replaced, or is over for good. One renewal serves all refused requests.
   *
   * @param {string} token
   */
  async #renewed(token) {
    if (token === this.session?.token) this.#onSessionOver(401);
    await this.#renewal;
  }

  /**
   * Ask the application for a new session, and begin it.
   *
   * @param {Session} ended
   * @param {(registration: Registration) => Session | null | Promise<Session | null>} ask
   */
  async #renew(ended, ask) {
    const attempt = (this.#attempt = {});
    /** @type {unknown} */
    let error;
    try {
      const session = await ask({ ...identityOf(ended), idempotencyKey: randomKey() });
      if (session) {
        this.#isUntried = true;
        return await this.#start(session, attempt);
      }
    } catch (cause) {
      error = cause;
    }
    if (attempt === this.#attempt) this.#announceEnd(error);
  }

  /** End a session that nobody wants any more, so that no call rings on it. @param {Session} session */
  #discard(session) {
    const url = `${this.#enablerOf(session)}/sessions/${session.id}`;
    const headers = { Authorization: `Bearer ${session.token}` };
    fetch(url, { method: "DELETE", headers }).catch(() => undefined);
  }

  /** @param {unknown} [error] why there is no new session */
  #announceEnd(error) {
    this.emit("session", null);
    this.emit("notice", { code: "session-over", ...(error ? { error } : {}) });
  }

  #forgetSession() {
    this.#dropSession();
    this.emit("session", null);
  }

  /** Stop everything that belongs to the session. */
  #dropSession() {
    clearTimeout(this.#refreshTimer);
    this.#channel?.stop();
    this.#channel = null;
    this.session = null;
    this.rejoinable = null;
    this.#rest.token = null;
    this.#invitations.clear();
    this.#ownKnock.forget();
    forget();
    this.emit("invitations", []);
    this.emit("channel", "offline");
  }

  #save() {
    if (!this.session) return;
    // After a reload, events of invitations that still ring are needed again: only they carry the offer.
    const unanswered = this.invitations.map(({ event }) => event.seq - 1);
    remember({ session: this.session, cursor: Math.min(this.#handled, ...unanswered) });
  }

  /** Run a task that nobody waits for, and report its error. @param {() => Promise<void>} task */
  async #quietly(task) {
    try {
      await task();
    } catch (error) {
      if (error instanceof SbeError) this.emit("notice", { code: "failed", error });
      else throw error;
    }
  }
}

/** @param {Session} session @returns {Identity} */
function identityOf({ username, vtn, icmn, device }) {
  return { username, ...(vtn ? { vtn } : {}), ...(icmn ? { icmn } : {}), ...(device ? { device } : {}) };
}

/** @param {Call} call */
function isOver(call) {
  return ["ended", "moved"].includes(call.state);
}

/**
 * @param {SessionEvent} event
 * @returns {Trace}
 */
function traceOf(event) {
  /** @type {AnyEvent} */
  const { type, seq, confId, modId, kind, reason, description, at, ...detail } = event;
  const participant = typeof detail.participant === "object" ? detail.participant : undefined;
  return {
    sort: "event",
    direction: "in",
    at: new Date(),
    title: type,
    seq,
    confId,
    modId,
    state: reason ?? kind ?? participant?.state ?? detail.conference?.state,
    who: detail.from?.username ?? participant?.username,
    description,
    detail: { ...(at ? { at } : {}), ...(reason ? { reason } : {}), ...detail },
  };
}

import { Chat } from "./chat.js";
import { Emitter } from "./emitter.js";
import { CallOver, Refusal } from "./errors.js";
import { FocusLeg } from "./focus.js";
import { Negotiator } from "./negotiator.js";
import { PeerLeg } from "./peer.js";
import { Recovery } from "./recovery.js";
import { Roster } from "./roster.js";

/**
 * @typedef {import("./types.js").Conference} Conference
 * @typedef {import("./types.js").Participant} Participant
 * @typedef {import("./types.js").Session} Session
 * @typedef {import("./types.js").WireEvent} WireEvent
 * @typedef {import("./rest.js").Rest} Rest
 * @typedef {import("./media.js").LocalMedia} LocalMedia
 * @typedef {import("./waiting.js").SerialQueue} SerialQueue
 * @typedef {import("./negotiator.js").Modification} Modification
 * @typedef {import("./negotiator.js").Notice} Notice
 * @typedef {import("./negotiator.js").Outcome} Outcome
 * @typedef {import("./peer.js").RemoteMedia} RemoteMedia
 * @typedef {import("./peer.js").Wishes} Wishes
 * @typedef {import("./roster.js").RemoteParticipant} RemoteParticipant
 *
 * @typedef {"calling" | "open" | "on-hold" | "held" | "moving" | "moved" | "ended"} CallState
 * @typedef {"focus" | "peer"} Topology
 *
 * @typedef {object} Surroundings
 * @property {Rest} rest
 * @property {string} conferencesUrl
 * @property {Session} session
 * @property {LocalMedia} media
 * @property {SerialQueue} queue runs events and negotiations, one at a time
 * @property {{askBeforeAccepting: boolean, holdDirection: "recvonly" | "inactive"}} preferences
 * @property {() => RTCPeerConnection} connect makes a peer connection
 * @property {() => void} closeMedia closes what `media` has open, unless another call uses it
 */

/** @type {RemoteMedia} */
const NOTHING = Object.freeze({ audio: null, camera: null, screen: null });

/**
 * This session's part in one conference. The roster knows the participants, the negotiator makes and answers offers,
 * and recovery brings lost media back. The call itself knows how far it has come, and does what its user asks.
 *
 * @extends {Emitter<{change: null, notice: Notice, media: RemoteMedia}>}
 */
export class Call extends Emitter {
  /** @type {"calling" | "open" | "moving" | "moved" | "ended"} */
  #phase = "calling";
  #video = false;
  #roster;
  #negotiator;
  #recovery;
  #stopFollowing;
  /** Why it ended, as the enabler reported it, or `here` when this side ended it. */
  endReason = "";
  /** @type {Topology} */
  topology = "peer";
  /** The addresses that this side called: usernames, or numbers as `tel:`. @type {string[]} */
  addresses = [];
  /** Whether this side placed the call. */
  placed = false;
  /** The name of the device that took the call over. @type {string | null} */
  movedTo = null;
  /** When a move stops ringing, as the enabler reported it. @type {string | null} */
  ringsUntil = null;
  /** @type {Date | null} */
  openedAt = null;
  chat = new Chat((participant) => this.others.some(({ id }) => id === participant));

  /** @param {Surroundings} surroundings */
  constructor(surroundings) {
    super();
    const { session, queue, media } = surroundings;
    this.around = surroundings;
    const situation = this.#situation();
    this.#roster = new Roster({ sessionId: session.id, tracksOf: (id) => this.#tracksOf(id) });
    this.#negotiator = new Negotiator({
      put: async (action, body) => ({ modId: (await this.#put(action, body)).headers.get("x-mod-id") ?? "" }),
      newLeg: () => (this.hasFocus ? new FocusLeg(surroundings.connect()) : new PeerLeg(surroundings.connect())),
      wishes: (holding) => this.#wishes(holding),
      queue,
      situation,
    });
    this.#recovery = new Recovery({ negotiator: this.#negotiator, situation });
    this.#stopFollowing = media.on("change", () => void this.#negotiator.setTracks());
    this.#follow();
  }

  /** @returns {import("./negotiator.js").Situation} */
  #situation() {
    const call = this;
    return {
      get hasFocus() {
        return call.hasFocus;
      },
      get isOpen() {
        return call.#phase === "open";
      },
      get isHost() {
        return call.me?.role === "host";
      },
      get otherMoves() {
        return call.otherMoves;
      },
      get asksFirst() {
        return call.around.preferences.askBeforeAccepting;
      },
    };
  }

  /** Pass on what the parts report. */
  #follow() {
    const changed = () => this.emit("change", null);
    this.#roster.on("change", changed);
    this.#recovery.on("notice", (notice) => this.emit("notice", notice));
    const negotiator = this.#negotiator;
    negotiator.on("change", changed);
    negotiator.on("connection", changed);
    negotiator.on("media", () => this.emit("media", this.remote));
    negotiator.on("notice", (notice) => this.emit("notice", notice));
    negotiator.on("leg", (leg) => {
      if (leg instanceof FocusLeg) this.chat.attach(leg.chat);
    });
    negotiator.on("accepted", (modification) => this.#onAccepted(modification));
    negotiator.on("hopeless", (reason) => {
      this.#end(reason);
      this.#leave();
    });
  }

  get confId() {
    return this.conference?.id ?? null;
  }

  get conference() {
    return this.#roster.conference;
  }

  /** @returns {CallState} */
  get state() {
    if (this.#phase !== "open") return this.#phase;
    if (this.me?.state === "on-hold") return "on-hold";
    return this.#roster.isHeld ? "held" : "open";
  }

  get hasFocus() {
    return this.topology === "focus";
  }

  /** This side's participant. */
  get me() {
    return this.#roster.me;
  }

  /** The others who are present or invited, in the order in which they joined, with their tracks. */
  get others() {
    return this.#roster.others;
  }

  /** The other side. In `peer` topology there is exactly one, who stays named after leaving. */
  get other() {
    return this.#roster.other;
  }

  /** The tracks that arrive from the other side. */
  get remote() {
    return this.#tracksOf(this.other?.id ?? "");
  }

  /** Who speaks now, by participant ID. Only a focus reports it. */
  get speaker() {
    return this.#roster.speaker;
  }

  /** Whether the other side is between two devices: nothing arrives from it, and it answers no offer. */
  get otherMoves() {
    return !this.hasFocus && this.other?.state === "moving";
  }

  /** The connection in use. @returns {PeerLeg | null} */
  get leg() {
    return this.#negotiator.leg;
  }

  /** The offer, of either side, that is not settled yet. */
  get pending() {
    return this.#negotiator.pending;
  }

  get connection() {
    return this.#negotiator.connection;
  }

  // ── starting ────────────────────────────────────────────────────────────

  /**
   * Invite addresses with this side's offer, which sends what the local media has open.
   *
   * @param {string[]} to usernames, or numbers as `tel:+15550100`
   * @param {{video: boolean, topology: Topology, access?: "invited" | "open", name?: string}} options
   */
  async invite(to, { video, topology, access, name }) {
    this.topology = topology;
    this.addresses = to;
    this.placed = true;
    this.#video = video;
    await this.#start("not-placed", async () => {
      const offer = await this.#negotiator.firstOffer();
      const { headers, body } = await this.around.rest.send({
        method: "POST",
        url: this.around.conferencesUrl,
        body: { to, topology, ...(access ? { access } : {}), ...(name ? { name } : {}), ...offer },
      });
      this.#learn(body);
      // The user gave up while the request was on its way.
      if (this.#phase === "ended") return this.#leave();
      this.#negotiator.expectAnswer({ modId: headers.get("x-mod-id") ?? "", kind: "call", description: offer });
    });
  }

  /**
   * Answer an invitation: with an answer to the caller's offer, or, for a move and towards a focus, with an offer. An
   * open conference needs no invitation.
   *
   * @param {Pick<WireEvent, "conference" | "description" | "reason">} invitation
   * @param {{video: boolean}} options
   */
  async answer({ conference, description: offer, reason }, { video }) {
    this.#video = video;
    this.#roster.conference = conference ?? null;
    this.topology = conference?.topology ?? "peer";
    await this.#start("not-answered", async () => {
      const negotiator = this.#negotiator;
      const description = offer ? await negotiator.firstAnswer(offer) : await negotiator.firstOffer();
      const { headers } = await this.#put("conference-answer", description);
      await this.reread();
      if (this.#phase === "ended") return;
      this.#open();
      const kind = reason === "move" ? "move" : "call";
      if (!offer) negotiator.expectAnswer({ modId: headers.get("x-mod-id") ?? "", kind, description });
    });
  }

  /**
   * @param {string} failure the reason for the end, should the start fail
   * @param {() => Promise<void>} negotiate
   */
  #start(failure, negotiate) {
    return this.around.queue.run(async () => {
      this.#negotiator.begin();
      try {
        await negotiate();
      } catch (error) {
        this.#end(failure);
        throw error;
      }
    });
  }

  /**
   * Enter an open conference of which only the ID is known.
   *
   * @param {string} confId
   * @param {{video: boolean}} options
   */
  join(confId, options) {
    const conference = {
      id: confId,
      topology: /** @type {const} */ ("focus"),
      access: "open",
      name: "",
      state: /** @type {const} */ ("session-open"),
      createdAt: "",
      endedAt: null,
      participants: [],
      pendingModifications: [],
    };
    return this.answer({ conference }, options);
  }

  /**
   * Come back to the conference after the page was reloaded. The peer connection ended with the page, so a new one is
   * offered. Its o= line makes the other side use a new one too.
   *
   * @param {Conference} conference
   */
  async rejoin(conference) {
    this.topology = conference.topology;
    this.#learn(conference);
    this.#open();
    this.#negotiator.holding = this.me?.state === "on-hold";
    this.#video = this.around.media.camera !== null;
    for (const { modId } of conference.pendingModifications) await this.#put("rejectCancel-conference-mod", { modId });
    await this.#negotiator.modify({ fresh: true });
  }

  // ── what this side sends ────────────────────────────────────────────────

  /**
   * Offer what the local media has open now.
   *
   * @param {{iceRestart?: boolean}} [options]
   * @returns {Promise<Outcome>} how the offer was settled
   */
  modify({ iceRestart = false } = {}) {
    return this.#negotiator.modify({ iceRestart });
  }

  /**
   * Open the camera and send it: without an offer if the description in force allows it already.
   *
   * @returns {Promise<Outcome>}
   */
  async addVideo() {
    await this.around.media.openCamera();
    await this.#unmuteVideo();
    if (this.leg?.maySend("camera") || this.state === "on-hold") return "accepted";
    const video = this.#video;
    this.#video = true;
    return this.#orElse(
      () => this.modify(),
      () => {
        this.#video = video;
        this.around.media.close("camera");
      },
    );
  }

  /**
   * Turn the camera off. This needs no consent. An offer informs the other side, so that it does not take the last
   * frame for live video. The camera is off here however that offer is settled.
   *
   * @returns {Promise<void>}
   */
  async stopVideo() {
    this.around.media.close("camera");
    if (this.state === "on-hold" || !this.leg?.maySend("camera")) return;
    try {
      await this.modify();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }

  /** @returns {Promise<Outcome>} */
  async shareScreen() {
    await this.around.media.openScreen();
    await this.#unmuteVideo();
    return this.#orElse(
      () => this.modify(),
      () => this.around.media.close("screen"),
    );
  }

  /** Only the participant can undo a mute by the host. */
  async #unmuteVideo() {
    if (this.me?.muted.video) await this.mute({ video: false });
  }

  /** @returns {Promise<Outcome>} */
  async stopScreen() {
    this.around.media.close("screen");
    return this.#phase === "open" && this.leg?.maySend("screen") ? this.modify() : "accepted";
  }

  /** @returns {Promise<Outcome>} */
  hold() {
    // Nothing is sent from now on, however late the other side accepts.
    this.around.media.paused = true;
    return this.#orElse(
      async () =>
        (await this.#negotiator.offer({ action: "initiate-conference-hold", kind: "hold", holding: true })).settled,
      () => this.#unpause(),
    );
  }

  /** @returns {Promise<Outcome>} */
  async resume() {
    const modification = await this.#negotiator.offer({
      action: "initiate-conference-resume",
      kind: "resume",
      holding: false,
    });
    return modification.settled;
  }

  #unpause() {
    this.around.media.paused = this.#negotiator.holding;
  }

  /**
   * Move the call to another device of the same user: hold, then end this leg within the move window (5 s).
   *
   * @returns {Promise<{outcome: string, moveRefused?: string}>}
   */
  async move() {
    this.around.media.paused = true;
    try {
      await this.#negotiator.offer({ action: "initiate-call-hold", kind: "hold", holding: true });
    } catch (error) {
      this.#unpause();
      throw error;
    }
    return this.around.queue.run(async () => {
      const { body } = await this.around.rest.send({ method: "DELETE", url: this.#url });
      if (body?.outcome === "moving") this.#handOver(body.ringsUntil);
      else this.#end(body?.moveRefused ?? "here");
      return { outcome: body?.outcome, moveRefused: body?.moveRefused };
    });
  }

  /** Accept the pending offer of the other side. @returns {Promise<void>} */
  accept() {
    return this.#negotiator.accept();
  }

  /** Reject the pending offer of the other side. @returns {Promise<void>} */
  reject() {
    return this.#negotiator.reject();
  }

  /** Take back this side's pending offer. @returns {Promise<void>} */
  cancel() {
    return this.#negotiator.cancel();
  }

  /** End the call here at once, and tell the enabler as soon as it can be reached. @returns {Promise<void>} */
  async hangUp() {
    const url = this.confId ? this.#url : null;
    this.#end("here");
    if (url === null) return;
    try {
      await this.around.rest.send({ method: "DELETE", url });
    } catch (error) {
      // The other side ended it first, which is what was wanted.
      if (!(error instanceof Refusal && (error.status === 404 || error.status === 409))) throw error;
    }
  }

  /**
   * End the call on this side only, because the enabler no longer knows this session.
   *
   * @param {string} reason
   */
  abandon(reason) {
    this.#end(reason);
  }

  // ── the participants ────────────────────────────────────────────────────

  /**
   * Mute or unmute what this side sends. A microphone is silent at once, even if the request fails. A focus informs
   * the others.
   *
   * @param {{audio?: boolean, video?: boolean}} wanted
   */
  async mute(wanted) {
    if (wanted.audio !== undefined) this.around.media.muted = wanted.audio;
    if (this.hasFocus && this.me && ["calling", "open"].includes(this.#phase))
      await this.muteParticipant(this.me.id, wanted);
  }

  /**
   * Mute a participant at the focus. Only the host can mute others, and only the participant can unmute themselves.
   *
   * @param {string} id of the participant
   * @param {{audio?: boolean, video?: boolean}} wanted
   */
  async muteParticipant(id, wanted) {
    await this.around.rest.send({ method: "PUT", url: `${this.#url}/participants/${id}/mute`, body: wanted });
    const participant = this.#roster.find(id);
    if (participant) this.#learnParticipant({ ...participant, muted: { ...participant.muted, ...wanted } });
    this.emit("change", null);
  }

  /** Only for the host. @param {string} id of the participant */
  async removeParticipant(id) {
    await this.around.rest.send({ method: "DELETE", url: `${this.#url}/participants/${id}` });
  }

  /** Only for the host. @param {string} to a username, or a number as `tel:+15550100` */
  async inviteMore(to) {
    const { body } = await this.around.rest.send({ method: "POST", url: `${this.#url}/participants`, body: { to } });
    this.#learnParticipant(body);
    this.emit("change", null);
  }

  /** @param {string} text @returns {boolean} false while it cannot be sent */
  say(text) {
    return this.chat.send(this.me?.id ?? "", text);
  }

  // ── what the enabler reports ────────────────────────────────────────────

  /**
   * Apply one event. Call it inside the queue. An event that arrives twice changes nothing the second time.
   *
   * @param {WireEvent} event
   */
  async handle(event) {
    if (this.#phase === "ended") return;
    if (event.conference) this.#learn(event.conference);
    if (typeof event.participant === "object") this.#learnParticipant(event.participant);
    try {
      await this.#apply(event);
    } catch (error) {
      // The user hung up in the middle of it.
      if (!(error instanceof CallOver)) throw error;
    }
    this.emit("change", null);
  }

  /** @param {WireEvent} event */
  async #apply(event) {
    switch (event.type) {
      case "session-open":
        if (event.description) await this.#negotiator.handle(event);
        else this.#open();
        break;
      case "mod-accepted":
      case "mod-received":
      case "mod-rejected":
      case "mod-cancelled":
      case "mod-expired":
        await this.#negotiator.handle(event);
        break;
      case "participant-left":
        await this.#onLeft(event);
        break;
      case "participant-muted":
        this.#onMuted(event);
        break;
      case "active-speaker":
        this.#roster.learnSpeaker(event);
        break;
      case "quality":
        this.#roster.learnQuality(event);
        break;
      case "move-expired":
        this.emit("notice", { code: "move-expired" });
        break;
      case "session-terminated":
        this.#end(event.reason ?? "terminated");
        break;
    }
  }

  /** Compare with the enabler, after events were lost or an answer never arrived. */
  async reread() {
    if (this.confId === null || this.#phase === "ended") return;
    /** @type {Conference} */
    let conference;
    try {
      conference = (await this.around.rest.send({ method: "GET", url: this.#url })).body;
    } catch (error) {
      if (error instanceof Refusal && error.status === 404) return this.#end("elsewhere");
      throw error;
    }
    this.#learn(conference);
    if (conference.state === "session-terminated") return this.#end("elsewhere");
    if (this.#roster.isTakenOver) return this.#handedOver();
    if (this.hasFocus && conference.state === "session-open" && this.#phase === "calling") this.#open();
    await this.#negotiator.compare(conference.pendingModifications);
    this.emit("change", null);
  }

  /** Start afresh if an answer was lost, so that both sides agree again. */
  reconcile() {
    return this.#recovery.reconcile();
  }

  /** @param {Modification} modification */
  #onAccepted({ mine, kind, holding }) {
    if (mine) {
      this.around.media.paused = holding;
      if (kind === "call" && !this.hasFocus) this.#open();
      this.#mark(this.me, kind);
    } else if (!this.hasFocus) {
      // A focus reports itself how a participant's state has changed.
      this.#mark(this.other, kind);
    }
  }

  /** @param {Participant | null} participant @param {string} kind of the modification that was accepted */
  #mark(participant, kind) {
    const state = kind === "hold" ? "on-hold" : kind === "resume" ? "accepted" : null;
    if (participant && state) this.#learnParticipant({ ...participant, state });
  }

  /** @param {Conference} conference */
  #learn(conference) {
    const me = this.#roster.learn(conference);
    // Muted on another device, or before the page was reloaded.
    if (me?.muted.audio && !this.around.media.muted) this.around.media.muted = true;
  }

  /** @param {Participant} participant */
  #learnParticipant(participant) {
    this.#roster.learnParticipant(participant);
    if (this.#roster.isMe(participant.id) && this.#roster.isTakenOver) this.#handedOver();
  }

  /** @param {WireEvent} event */
  async #onLeft(event) {
    const left = typeof event.participant === "object" ? event.participant : null;
    const reason = event.reason ?? "removed";
    if (!this.#roster.isMe(left?.id)) {
      this.#roster.forgetTrouble(left?.id);
      if (left && this.hasFocus) this.emit("notice", { code: "left", reason, who: left.username });
      return;
    }
    if (this.hasFocus && this.#phase !== "moving" && (await this.#isStillPresent())) return;
    // During a move it is this user's other device that declined, or did not answer.
    this.#end(this.#phase === "moving" ? `move-${reason}` : reason);
  }

  /** Whether the enabler counts this device as present: an event that is read late may be about an earlier stay. */
  async #isStillPresent() {
    try {
      const { body } = await this.around.rest.send({ method: "GET", url: this.#url });
      this.#learn(body);
    } catch {
      return false;
    }
    return this.me?.sessionId === this.around.session.id && this.me.state !== "left";
  }

  /**
   * The host muted this side. The focus withholds it already, and it is not recorded here either.
   *
   * @param {WireEvent} event
   */
  #onMuted({ participant }) {
    if (typeof participant !== "object" || !this.#roster.isMe(participant.id)) return;
    const { media } = this.around;
    const { audio, video } = participant.muted;
    if (audio && !media.muted) {
      media.muted = true;
      this.emit("notice", { code: "muted-by-host", kind: "audio" });
    }
    if (video && (media.camera || media.screen)) {
      media.close("camera");
      media.close("screen");
      this.#negotiator.confirm();
      this.emit("notice", { code: "muted-by-host", kind: "video" });
    }
  }

  // ── phases ──────────────────────────────────────────────────────────────

  #open() {
    if (this.#phase === "ended") return;
    this.#phase = "open";
    this.openedAt ??= new Date();
    this.#recovery.reconcileSoon();
    this.emit("change", null);
  }

  /** Another device of this user is to take over. @param {string | undefined} ringsUntil */
  #handOver(ringsUntil) {
    this.#phase = "moving";
    this.ringsUntil = ringsUntil ?? null;
    this.#releaseMedia();
    this.emit("change", null);
  }

  /** Another device of this user has taken over. */
  #handedOver() {
    if (this.#phase === "moved") return;
    this.#phase = "moved";
    this.movedTo = this.me?.device ?? null;
    this.#releaseMedia();
    this.emit("change", null);
  }

  /** @param {string} reason */
  #end(reason) {
    if (this.#phase === "ended") return;
    this.endReason = reason;
    this.#phase = "ended";
    this.#releaseMedia();
    this.emit("change", null);
  }

  #releaseMedia() {
    this.#stopFollowing();
    this.#negotiator.close();
    this.around.closeMedia();
  }

  // ── requests ────────────────────────────────────────────────────────────

  get #url() {
    return `${this.around.conferencesUrl}/${this.confId}`;
  }

  /** @param {string} action @param {object} body */
  #put(action, body) {
    return this.around.rest.send({ method: "PUT", url: this.#url, action, body });
  }

  #leave() {
    this.around.rest.send({ method: "DELETE", url: this.#url }).catch(() => undefined);
  }

  /** @param {boolean} holding @returns {Wishes} */
  #wishes(holding) {
    const { media, preferences } = this.around;
    // Towards a focus the first video section is always the camera's, so it is always there.
    const video = this.#video || this.hasFocus;
    return {
      audio: media.microphone,
      camera: media.camera,
      screen: media.screen,
      video,
      hold: holding ? preferences.holdDirection : null,
    };
  }

  /** @param {string} participant its ID @returns {RemoteMedia} */
  #tracksOf(participant) {
    return this.leg?.tracksOf(participant) ?? NOTHING;
  }

  /**
   * @param {() => Promise<Outcome>} attempt
   * @param {() => void} otherwise runs unless the outcome is `accepted`
   */
  async #orElse(attempt, otherwise) {
    /** @type {Outcome | null} */
    let outcome = null;
    try {
      outcome = await attempt();
      return outcome;
    } finally {
      if (outcome !== "accepted") otherwise();
    }
  }
}

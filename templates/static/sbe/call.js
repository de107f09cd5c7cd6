import { Chat } from "./chat.js";
import { Emitter } from "./emitter.js";
import { CallOver, Refusal } from "./errors.js";
import { FocusLeg } from "./focus.js";
import { Lobby } from "./lobby.js";
import { Negotiator } from "./negotiator.js";
import { NOTHING, PeerLeg } from "./peer.js";
import { READ_EVERY_MS, ReceptionJudge, together } from "./reception.js";
import { Recovery } from "./recovery.js";
import { ConferenceRequests } from "./requests.js";
import { Roster } from "./roster.js";
import { Sending } from "./sending.js";
import { readArrivals } from "./stats.js";
import { every } from "./waiting.js";

/**
 * @typedef {import("./types.js").Conference} Conference
 * @typedef {import("./types.js").Participant} Participant
 * @typedef {import("./types.js").Session} Session
 * @typedef {import("./event-types.js").SessionEvent} SessionEvent
 * @typedef {import("./event-types.js").InvitationReceived} InvitationReceived
 * @typedef {import("./event-types.js").ParticipantLeft} ParticipantLeft
 * @typedef {import("./event-types.js").ParticipantMuted} ParticipantMuted
 * @typedef {import("./rest.js").Rest} Rest
 * @typedef {import("./media.js").LocalMedia} LocalMedia
 * @typedef {import("./waiting.js").SerialQueue} SerialQueue
 * @typedef {import("./negotiator.js").Modification} Modification
 * @typedef {import("./negotiator.js").Notice} Notice
 * @typedef {import("./negotiator.js").Outcome} Outcome
 * @typedef {import("./peer.js").RemoteMedia} RemoteMedia
 * @typedef {import("./roster.js").RemoteParticipant} RemoteParticipant
 * @typedef {import("./lobby.js").WaitingKnock} WaitingKnock
 *
 * @typedef {"calling" | "open" | "on-hold" | "held" | "moving" | "moved" | "ended"} CallState
 * @typedef {"focus" | "peer"} Topology
 *
 * @typedef {object} Surroundings
 * @property {Rest} rest
 * @property {string} conferencesUrl
 * @property {() => Session} session the one that the call belongs to
 * @property {LocalMedia} media
 * @property {SerialQueue} queue runs events and negotiations, one at a time
 * @property {{askBeforeAccepting: boolean, holdDirection: "recvonly" | "inactive"}} preferences
 * @property {() => RTCPeerConnection} connect makes a peer connection
 * @property {() => void} closeMedia closes the open tracks of `media`, unless another call uses them
 */

/**
 * This session's part in one conference. The roster knows the participants, and `Sending` knows this side's tracks. The
 * negotiator makes and answers offers, and recovery brings lost media back. The call itself stores its phase, and
 * passes the user's requests and the enabler's events on to these parts.
 *
 * @extends {Emitter<{change: null, notice: Notice, media: RemoteMedia, event: SessionEvent}>}
 */
export class Call extends Emitter {
  /** @type {"calling" | "open" | "moving" | "moved" | "ended"} */
  #phase = "calling";
  #requests;
  #lobby;
  #roster;
  #negotiator;
  #recovery;
  /** @type {Sending} */
  #sending;
  #stopFollowing;
  /** Whether the conference was open before this device took part. */
  #isContinued = false;
  /** Whether the request that begins the call has not been answered yet. */
  #isBeginning = false;
  #judge = new ReceptionJudge();
  #stopListening = () => {};
  /** Why the call ended: the reason that the enabler reported, or `here` if this side ended it. */
  endReason = "";
  /** The participant who ended the call, if the enabler reported one. @type {Participant | null} */
  endedBy = null;
  /** @type {Topology} */
  topology = "peer";
  /** The addresses that this side called: usernames, or numbers as `tel:`. @type {string[]} */
  addresses = [];
  /** Whether this side placed the call. */
  placed = false;
  /** The name of the device that took the call over. @type {string | null} */
  movedTo = null;
  /** During a move: when the other devices stop ringing, as the enabler reported it. @type {string | null} */
  ringsUntil = null;
  /**
   * When the call was opened: for a device that takes a call over, joins or comes back, when the first answer came.
   *
   * @type {Date | null}
   */
  openedAt = null;
  chat = new Chat((participant) => this.others.some(({ id }) => id === participant));

  /** @param {Surroundings} surroundings */
  constructor(surroundings) {
    super();
    const { session, queue, media } = surroundings;
    this.around = surroundings;
    const situation = this.#situation();
    const { rest, conferencesUrl } = surroundings;
    this.#requests = new ConferenceRequests({ rest, conferencesUrl, confId: () => this.confId });
    this.#lobby = new Lobby(this.#requests);
    this.#roster = new Roster({ sessionId: () => session().id, tracksOf: (id) => this.#tracksOf(id) });
    this.#negotiator = new Negotiator({
      put: (action, body) => this.#requests.put(action, body),
      newLeg: () => (this.hasFocus ? new FocusLeg(surroundings.connect()) : new PeerLeg(surroundings.connect())),
      wishes: (holding) => this.#sending.wishes(holding),
      queue,
      situation,
    });
    this.#recovery = new Recovery({ negotiator: this.#negotiator, situation });
    this.#sending = new Sending({
      media,
      negotiator: this.#negotiator,
      situation,
      holdDirection: () => surroundings.preferences.holdDirection,
      unmuteVideo: async () => {
        if (this.me?.muted.video) await this.mute({ video: false });
      },
    });
    const following = [
      media.on("change", () => void this.#negotiator.setTracks()),
      media.on("device-lost", ({ device }) => void this.#follow(device)),
      media.on("device-back", ({ device }) => void this.#follow(device)),
    ];
    this.#stopFollowing = () => following.forEach((stop) => stop());
    this.#passOn();
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
      get isOnHold() {
        return call.state === "on-hold";
      },
      get isHost() {
        return call.me?.role === "host";
      },
      get otherMoves() {
        return call.otherMoves;
      },
      get otherIsAway() {
        return !call.hasFocus && call.other?.away === true;
      },
      get asksFirst() {
        return call.around.preferences.askBeforeAccepting;
      },
    };
  }

  /** Pass on what the call's parts emit. */
  #passOn() {
    const changed = () => this.emit("change", null);
    this.#roster.on("change", changed);
    this.#recovery.on("notice", (notice) => this.emit("notice", notice));
    this.#sending.on("notice", (notice) => this.emit("notice", notice));
    const negotiator = this.#negotiator;
    negotiator.on("change", changed);
    negotiator.on("connection", changed);
    negotiator.on("media", () => this.emit("media", this.remote));
    negotiator.on("notice", (notice) => this.emit("notice", notice));
    negotiator.on("leg", (leg) => {
      if (!(leg instanceof FocusLeg)) return;
      this.chat.attach(leg.chat);
      import("./upkeep.js").then(({ keepUp }) => keepUp(this, leg)).catch(() => undefined);
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

  /** Whether this is a video call, even if all cameras are off. */
  get video() {
    return this.#sending.video;
  }

  /** This side's participant. */
  get me() {
    return this.#roster.me;
  }

  /** The other participants who are present or invited, in the order in which they joined, with their tracks. */
  get others() {
    return this.#roster.others;
  }

  /**
   * The other side: the first other participant. In `peer` topology there is exactly one, which is returned even after
   * leaving.
   */
  get other() {
    return this.#roster.other;
  }

  /** The tracks that arrive from the other side. */
  get remote() {
    return this.#tracksOf(this.other?.id ?? "");
  }

  /** Whether the host has locked the conference. */
  get locked() {
    return this.conference?.locked ?? false;
  }

  /** The sessions that knock at the locked conference, oldest first. Only the host has any. @returns {WaitingKnock[]} */
  get knocks() {
    return this.#lobby.knocks;
  }

  /** Whether media arrives: from any participant, from none although it should, or none is expected. */
  get receiving() {
    return together(this.others.map(({ receiving }) => receiving));
  }

  /** The participant ID of the active speaker. Only a focus reports the speaker. */
  get speaker() {
    return this.#roster.speaker;
  }

  /** Whether the other side is moving to another device. During the move it sends nothing and answers no offer. */
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
   * Invite addresses with an offer of the local tracks that are open.
   *
   * @param {string[]} to usernames, or numbers as `tel:+15550100`
   * @param {{video: boolean, topology: Topology, access?: "invited" | "open", name?: string}} options
   */
  async invite(to, { video, topology, access, name }) {
    this.topology = topology;
    this.addresses = to;
    this.placed = true;
    this.#sending.video = video;
    await this.#start("not-placed", async () => {
      const offer = await this.#negotiator.firstOffer();
      const how = { ...(access ? { access } : {}), ...(name ? { name } : {}) };
      const { modId, conference } = await this.#requests.create({ to, topology, ...how, ...offer });
      this.#learn(conference);
      // The user gave up while the request was on its way.
      if (this.#phase === "ended") return this.#leave();
      this.#negotiator.expectAnswer({ modId, kind: "call", description: offer });
    });
  }

  /**
   * Answer an invitation. In `peer` topology, a call is accepted with an answer to the caller's offer. For a move, or
   * through a focus, this side makes the offer. An open conference needs no invitation.
   *
   * @param {Pick<InvitationReceived, "conference" | "description"> & {reason?: "call" | "move"}} invitation
   * @param {{video: boolean}} options
   */
  async answer({ conference, description: offer, reason }, { video }) {
    this.#sending.video = video;
    this.#isContinued = reason === "move" || conference.state === "session-open";
    this.#roster.conference = conference;
    this.topology = conference.topology;
    await this.#start("not-answered", async () => {
      const negotiator = this.#negotiator;
      const description = offer ? await negotiator.firstAnswer(offer) : await negotiator.firstOffer();
      const { modId } = await this.#requests.put("conference-answer", description);
      await this.reread();
      if (this.#phase === "ended") return;
      this.#open();
      const kind = reason === "move" ? "move" : "call";
      if (!offer) negotiator.expectAnswer({ modId, kind, description });
    });
  }

  /**
   * @param {string} failure why the call ends if the start fails
   * @param {() => Promise<void>} negotiate
   */
  #start(failure, negotiate) {
    return this.around.queue.run(async () => {
      this.#negotiator.begin();
      this.#isBeginning = true;
      try {
        await negotiate();
      } catch (error) {
        this.#end(failure);
        throw error;
      } finally {
        this.#isBeginning = false;
      }
      // The session that began the call ended before the answer came.
      if (!this.me) this.#end("session-over");
    });
  }

  /**
   * Join an open conference by its ID.
   *
   * @param {string} confId
   * @param {{video: boolean}} options
   */
  join(confId, options) {
    const conference = {
      id: confId,
      topology: "focus",
      access: "open",
      state: "session-open",
      participants: [],
    };
    // The enabler's answer has the other fields.
    return this.answer({ conference: /** @type {Conference} */ (/** @type {unknown} */ (conference)) }, options);
  }

  /**
   * Come back to the conference after the page was reloaded. The peer connection ended with the page, so this side
   * offers a new one. The o= line of that offer makes the other side create a new peer connection too.
   *
   * @param {Conference} conference
   */
  async rejoin(conference) {
    this.topology = conference.topology;
    this.#isContinued = true;
    this.#learn(conference);
    this.#open();
    this.#negotiator.holding = this.me?.state === "on-hold";
    this.#sending.video = this.around.media.camera !== null;
    for (const { modId } of conference.pendingModifications)
      await this.#requests.put("rejectCancel-conference-mod", { modId });
    await this.#rereadKnocks();
    await this.#negotiator.modify({ fresh: true });
  }

  // ── this side's tracks ──────────────────────────────────────────────────

  /**
   * Offer the local tracks that are open now.
   *
   * @param {{iceRestart?: boolean}} [options]
   * @returns {Promise<Outcome>} how the offer was settled
   */
  modify({ iceRestart = false } = {}) {
    return this.#negotiator.modify({ iceRestart });
  }

  /**
   * Open the camera and send its video. This needs no offer if the description in force already allows it.
   *
   * @returns {Promise<Outcome>}
   */
  addVideo() {
    return this.#sending.addVideo();
  }

  /**
   * Turn the camera off. The other side need not agree. An offer informs it, so that it does not show the last frame as
   * live video. The camera stays off however that offer is settled.
   *
   * @returns {Promise<void>}
   */
  stopVideo() {
    return this.#sending.stopVideo();
  }

  /** Let the user choose a screen, and send it. @returns {Promise<Outcome>} */
  shareScreen() {
    return this.#sending.shareScreen();
  }

  /** @returns {Promise<Outcome>} */
  stopScreen() {
    return this.#sending.stopScreen();
  }

  /** Put this side on hold: it stops sending at once. @returns {Promise<Outcome>} */
  hold() {
    return this.#sending.hold();
  }

  /** End the hold: this side sends again. @returns {Promise<Outcome>} */
  resume() {
    return this.#sending.resume();
  }

  /**
   * Move the call to another device of the same user: hold, then end this leg within the move window.
   *
   * @returns {Promise<{outcome?: string, moveRefused?: string}>}
   */
  async move() {
    await this.#sending.holdForMove();
    return this.around.queue.run(async () => {
      const body = await this.#requests.leave();
      if (body?.outcome === "moving") this.#handOver(body.ringsUntil);
      else this.#end(body?.moveRefused ?? "here");
      return { outcome: body?.outcome, moveRefused: body?.moveRefused };
    });
  }

  /**
   * Tell the other side that this side's device was lost, or is back.
   *
   * @param {import("./devices.js").DeviceName} device
   */
  async #follow(device) {
    if (this.#phase !== "open" || !this.me) return;
    const { media } = this.around;
    const { id } = this.me;
    await this.#quietly(async () => {
      if (device === "microphone") await (this.hasFocus && this.muteParticipant(id, { audio: media.muted }));
      else if (media.camera) await this.addVideo();
      else await this.#sending.tellVideoStopped();
    });
  }

  /** Do something that the user did not ask for. A failure is a notice. @param {() => Promise<void>} work */
  async #quietly(work) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof CallOver)) this.emit("notice", { code: "failed", error });
    }
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

  /**
   * End the call here at once, and inform the enabler as soon as it is reachable. If this side is the host, the call ends
   * for all.
   *
   * @returns {Promise<void>}
   */
  async hangUp({ forAll = false } = {}) {
    await this.#hangUp(() => this.#requests.leave(forAll));
  }

  /**
   * Leave the call at once. The others continue, unless this side is the host: `makeHost` chooses another one.
   *
   * @returns {Promise<void>}
   */
  async leave() {
    const { me } = this;
    await this.#hangUp(() => (me ? this.#requests.remove(me.id) : this.#requests.leave()));
  }

  /** @param {() => Promise<unknown>} inform */
  async #hangUp(inform) {
    const isKnown = this.confId !== null;
    this.#end("here");
    if (!isKnown) return;
    try {
      await inform();
    } catch (error) {
      // The other side ended the call first. The result is the same.
      if (!(error instanceof Refusal && (error.status === 404 || error.status === 409))) throw error;
    }
  }

  /**
   * End the call on this side only, because the enabler no longer knows this session. A call that is only beginning
   * continues: its first request is repeated with the next session.
   *
   * @param {string} reason
   */
  abandon(reason) {
    if (!this.#isBeginning) this.#end(reason);
  }

  // ── the participants ────────────────────────────────────────────────────

  /**
   * Mute or unmute this side's audio or video. The microphone falls silent at once, even if the request fails. A focus
   * informs the other participants.
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
    await this.#requests.mute(id, wanted);
    const participant = this.#roster.find(id);
    if (participant) this.#learnParticipant({ ...participant, muted: { ...participant.muted, ...wanted } });
    this.emit("change", null);
  }

  /**
   * Raise or lower this side's hand. The others see it, also those who join later. Only a focus supports hands.
   *
   * @param {boolean} [raised]
   */
  async raiseHand(raised = true) {
    if (this.me) await this.#setHand(this.me.id, raised);
  }

  /** Lower another participant's hand, which only the host can do. @param {string} id of the participant */
  async lowerHand(id) {
    await this.#setHand(id, false);
  }

  /** @param {string} id of the participant @param {boolean} raised */
  async #setHand(id, raised) {
    await this.#requests.hand(id, raised);
    const participant = this.#roster.find(id);
    // The server's own time arrives with the next snapshot. Until then, this time keeps the order of the hands.
    const at = participant?.handRaisedAt ?? new Date().toISOString();
    if (participant) this.#learnParticipant({ ...participant, handRaisedAt: raised ? at : null });
    this.emit("change", null);
  }

  /** Remove a participant, which only the host can do. @param {string} id of the participant */
  async removeParticipant(id) {
    await this.#requests.remove(id);
  }

  /**
   * Make another participant the host, which only the host can do. This side is then a guest.
   *
   * @param {string} id of the participant
   */
  async makeHost(id) {
    await this.#requests.makeHost(id);
    // An event may already have reported a later change, so the enabler is asked for the result.
    await this.around.queue.run(() => this.reread());
  }

  /**
   * Lock or unlock an open conference, which only the host can do. Unlocking admits everybody who knocks.
   *
   * @param {boolean} locked
   */
  async lock(locked) {
    await this.#requests.lock(locked);
    this.#roster.learnLock(locked);
    if (!locked) this.#lobby.clear();
    this.emit("change", null);
  }

  /** Admit a session that knocks, which only the host can do. @param {string} id of the knock */
  admit(id) {
    return this.#answerKnock(id, true);
  }

  /** Deny a session that knocks, which only the host can do. @param {string} id of the knock */
  deny(id) {
    return this.#answerKnock(id, false);
  }

  /** @param {string} id @param {boolean} admit */
  async #answerKnock(id, admit) {
    try {
      await this.#lobby.answer(id, admit);
    } finally {
      this.emit("change", null);
    }
  }

  /**
   * Rate the call, during the call or within 24 h after it. Only support staff see the rating.
   *
   * @param {{stars: number, comment?: string}} rating one to five stars
   */
  async rate({ stars, comment }) {
    const { me } = this;
    if (!me) throw new CallOver();
    await this.#requests.rate(me.id, comment === undefined ? { stars } : { stars, comment });
  }

  /** Invite another user, which only the host can do. @param {string} to a username, or a number as `tel:+15550100` */
  async inviteMore(to) {
    this.#learnParticipant(await this.#requests.invite(to));
    this.emit("change", null);
  }

  /** @param {string} text @returns {boolean} false while it cannot be sent */
  say(text) {
    return this.chat.send(this.me?.id ?? "", text);
  }

  // ── the enabler's events ────────────────────────────────────────────────

  /**
   * Apply one event. Call it inside the queue. An event that arrives twice changes nothing the second time.
   *
   * @param {SessionEvent} event
   */
  async handle(event) {
    if (this.#phase === "ended") return;
    const before = this.others;
    if ("conference" in event) this.#learn(event.conference);
    if (event.type === "session-terminated") this.endedBy = this.#whoEnded(before);
    if ("participant" in event && typeof event.participant === "object") this.#learnParticipant(event.participant);
    try {
      await this.#apply(event);
    } catch (error) {
      // The user hung up while the event was being applied.
      if (!(error instanceof CallOver)) throw error;
    }
    this.emit("event", event);
    this.emit("change", null);
  }

  /** @param {SessionEvent} event */
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
      case "host-changed":
        this.#roster.learnHost(event.from.participant, event.participant.id);
        if (this.me?.role !== "host") this.#lobby.clear();
        break;
      case "lock-changed":
        this.#roster.learnLock(event.locked);
        break;
      case "knock":
        this.#lobby.learn(event);
        break;
      case "knock-withdrawn":
        this.#lobby.forget(event.knockId);
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
        this.#end(event.reason);
        break;
    }
  }

  /**
   * Return the participant whose leaving ended the conference: all who were present left with it.
   *
   * @param {RemoteParticipant[]} present the other participants until then
   */
  #whoEnded(present) {
    const left = present.map(({ id }) => this.#roster.find(id));
    return left.find((participant) => participant?.leftReason && participant.leftReason !== "conference-ended") ?? null;
  }

  /** Read the conference from the enabler again, after events were lost or an answer never arrived. */
  async reread() {
    if (this.confId === null || this.#phase === "ended") return;
    /** @type {Conference} */
    let conference;
    try {
      conference = await this.#requests.read();
    } catch (error) {
      if (error instanceof Refusal && error.status === 404) return this.#end("elsewhere");
      throw error;
    }
    this.#learn(conference);
    if (conference.state === "session-terminated") return this.#end("elsewhere");
    if (this.#roster.isTakenOver) return this.#handedOver();
    if (this.hasFocus && conference.state === "session-open" && this.#phase === "calling") this.#open();
    await this.#negotiator.compare(conference.pendingModifications);
    await this.#rereadKnocks();
    this.emit("change", null);
  }

  /** Read the knocks again. Events about them may be lost, or may have arrived before the page was reloaded. */
  async #rereadKnocks() {
    if (this.locked && this.me?.role === "host") await this.#lobby.reread();
    else this.#lobby.clear();
  }

  /** Offer a new connection if an answer was lost, so that both sides agree again. */
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
      // With a focus, `participant-on-hold` and `participant-resumed` report the other side's hold and resume.
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
    // This side was muted on another device, or before the page was reloaded.
    if (me?.muted.audio && !this.around.media.muted) this.around.media.muted = true;
  }

  /** @param {Participant} participant */
  #learnParticipant(participant) {
    this.#roster.learnParticipant(participant);
    if (this.#roster.isMe(participant.id) && this.#roster.isTakenOver) this.#handedOver();
  }

  /** @param {ParticipantLeft} event */
  async #onLeft({ participant: left, reason }) {
    if (!this.#roster.isMe(left.id)) {
      this.#roster.forgetTrouble(left.id);
      if (this.hasFocus) this.emit("notice", { code: "left", reason, who: left.username });
      return;
    }
    if (this.hasFocus && this.#phase !== "moving" && (await this.#isStillPresent())) return;
    // During a move, the reason is that this user's other device declined or did not answer.
    this.#end(this.#phase === "moving" ? `move-${reason}` : reason);
  }

  /** Whether the enabler counts this device as present. A `participant-left` may belong to an earlier stay. */
  async #isStillPresent() {
    try {
      this.#learn(await this.#requests.read());
    } catch {
      return false;
    }
    return this.me?.sessionId === this.around.session().id && this.me.state !== "left";
  }

  /**
   * If the participant that was muted or unmuted is this side, change the local media accordingly.
   *
   * @param {ParticipantMuted} event
   */
  #onMuted({ participant }) {
    if (this.#roster.isMe(participant.id)) this.#sending.followMute(participant.muted);
  }

  // ── what arrives ────────────────────────────────────────────────────────

  /** Compare what arrives with what each participant should send now. */
  async #listen() {
    const { leg, pending } = this;
    // Before the connection is made, nothing can arrive. An offer of the other side that is being answered is about to
    // change the tracks.
    if (
      leg === null ||
      this.#phase !== "open" ||
      /new|connecting/.test(this.connection) ||
      (pending && !pending.mine && !pending.asking)
    )
      return;
    const expected = this.#expected(leg);
    const isIdle = [...expected.values()].flat().every((mid) => mid === null);
    const reading = isIdle
      ? { at: performance.now(), tracks: new Map(), path: null }
      : await readArrivals(leg.pc, { endsAtParticipant: !this.hasFocus });
    if (leg === this.leg && this.#phase === "open") this.#roster.learnReceptions(this.#judge.judge(expected, reading));
  }

  /** @param {PeerLeg} leg @returns {Map<string, (string | null)[]>} as `ReceptionJudge.judge` expects it */
  #expected(leg) {
    const senders = this.others.filter(({ state }) => state === "accepted");
    return new Map(
      senders.map(({ id, audio, camera, muted, paused }) => {
        const tracks = [muted.audio ? null : audio, muted.video || paused?.camera ? null : camera];
        return [id, tracks.map((track) => track && leg.midOf(track))];
      }),
    );
  }

  // ── phases ──────────────────────────────────────────────────────────────

  #open() {
    if (this.#phase === "ended") return;
    this.#phase = "open";
    this.openedAt ??= this.#beganAt();
    this.#stopListening();
    this.#stopListening = every(READ_EVERY_MS, () => this.#listen());
    this.#catchUp();
    this.#recovery.reconcileSoon();
    this.emit("change", null);
  }

  /**
   * Return when the conference was opened. A conference that opens now begins at this device's own time: the two
   * clocks may differ.
   */
  #beganAt() {
    const now = new Date();
    const openedAt = this.#isContinued && this.conference?.openedAt;
    return openedAt ? new Date(Math.min(Date.parse(openedAt), now.getTime())) : now;
  }

  /** Inform the others of what was switched off before the call opened. */
  #catchUp() {
    this.#sending.catchUp();
    if (this.around.media.muted && this.me?.muted.audio === false) void this.#quietly(() => this.mute({ audio: true }));
  }

  /** Another device of this user is about to take over the call. @param {string | undefined} ringsUntil */
  #handOver(ringsUntil) {
    this.#phase = "moving";
    this.ringsUntil = ringsUntil ?? null;
    this.#releaseMedia();
    this.emit("change", null);
  }

  /** Another device of this user has taken over the call. */
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
    this.#stopListening();
    this.#negotiator.close();
    this.around.closeMedia();
  }

  #leave() {
    this.#requests.leave().catch(() => undefined);
  }

  /** @param {string} participant its ID */
  #tracksOf(participant) {
    return this.leg?.tracksOf(participant) ?? NOTHING;
  }
}

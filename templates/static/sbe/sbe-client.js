/*
 * SbeClient: a browser endpoint of the SBE Enabler. This file is the public entry; see docs/sbe-client.md.
 */

import { SbeClient } from "./client.js";
import { CallOver, MediaError, NetworkError, Refusal, SbeError, SessionOver } from "./errors.js";

/**
 * @typedef {import("./call.js").Call} Call
 * @typedef {import("./call.js").CallState} CallState
 * @typedef {import("./call.js").Modification} Modification
 * @typedef {import("./call.js").Notice} Notice
 * @typedef {import("./call.js").Outcome} Outcome
 * @typedef {import("./call.js").RemoteParticipant} RemoteParticipant
 * @typedef {import("./call.js").Topology} Topology
 * @typedef {import("./channel.js").ChannelState} ChannelState
 * @typedef {import("./chat.js").ChatMessage} ChatMessage
 * @typedef {import("./client.js").ClientEvents} ClientEvents
 * @typedef {import("./client.js").Invitation} Invitation
 * @typedef {import("./event-types.js").SessionEvent} SessionEvent
 * @typedef {import("./media.js").LocalMedia} LocalMedia
 * @typedef {import("./peer.js").RemoteMedia} RemoteMedia
 * @typedef {import("./types.js").Conference} Conference
 * @typedef {import("./types.js").Description} Description
 * @typedef {import("./types.js").DevServer} DevServer
 * @typedef {import("./types.js").Identity} Identity
 * @typedef {import("./types.js").Participant} Participant
 * @typedef {import("./types.js").Registered} Registered
 * @typedef {import("./types.js").Registration} Registration
 * @typedef {import("./types.js").Session} Session
 * @typedef {import("./types.js").Trace} Trace
 */

export { CallOver, MediaError, NetworkError, Refusal, SbeClient, SbeError, SessionOver };

/**
 * The shapes on the wire. A newer server may add fields, so unknown fields are ignored.
 *
 * @typedef {{type: "offer" | "answer", sdp: string}} Description
 *
 * @typedef {object} Session
 * @property {string} id
 * @property {string} token
 * @property {string} username
 * @property {string | null} vtn
 * @property {string | null} icmn
 * @property {string | null} device
 * @property {string} state
 * @property {boolean} [away] whether it had an event channel, and lost it
 * @property {boolean} [followed] whether it has, or had, an event channel
 * @property {string} expiresAt
 * @property {{webSocket: string, http: string}} events
 * @property {RTCIceServer[]} iceServers
 *
 * @typedef {{username: string, vtn?: string, icmn?: string, device?: string}} Identity
 *
 * @typedef {Partial<Identity> & {idempotencyKey: string}} Registration the identity to register, and the key for the
 *   `Idempotency-Key` of the request
 *
 * @typedef {object} DevServer the application's back end
 * @property {string} url the client adds `/sessions` to it
 * @property {HeadersInit | (() => HeadersInit | Promise<HeadersInit>)} [headers] for requests to `url` only; a function
 *   is called before each request
 * @property {RequestCredentials} [credentials] whether requests to `url` carry cookies; the default is `same-origin`
 *
 * @typedef {Pick<Session, "id" | "username" | "vtn" | "icmn" | "device" | "state" | "away" | "followed" | "expiresAt">} Registered
 *
 * @typedef {object} Participant
 * @property {string} id
 * @property {string} username
 * @property {"host" | "guest" | string} role
 * @property {"invited" | "accepted" | "on-hold" | "moving" | "left"} state
 * @property {string | null} sessionId
 * @property {string | null} [device]
 * @property {{audio: boolean, video: boolean}} muted
 * @property {string | null} [handRaisedAt] when the participant raised its hand; null while the hand is down
 * @property {number} [reachable] only in the answer to the invitation: how many of the user's devices ring
 * @property {boolean} [away] whether its page has announced that it closes or reloads, and has not come back
 * @property {string | null} leftReason
 *
 * @typedef {{audio: boolean, video: boolean, screen: boolean}} SentMedia
 *
 * @typedef {{participant: string, label: string}} Video a forwarded video, as its `a=msid` names it
 *
 * @typedef {object} WireModification
 * @property {string} modId
 * @property {string} kind
 * @property {string} from
 * @property {string} to
 * @property {string} state
 * @property {string} expiresAt
 *
 * @typedef {object} Conference
 * @property {string} id
 * @property {"peer" | "focus"} topology
 * @property {string} access
 * @property {boolean} [locked] whether the host has locked an open conference
 * @property {string} name
 * @property {"invitation-sent" | "session-open" | "session-terminated"} state
 * @property {string} createdAt
 * @property {string | null} [openedAt] when the conference was answered for the first time
 * @property {string | null} endedAt
 * @property {Participant[]} participants those who are present or invited, and the last ones who left
 * @property {number} [leftEarlier] how many participants left before those
 * @property {WireModification[]} pendingModifications
 *
 * @typedef {{participant: string, username: string | null}} Origin
 *
 * @typedef {{id: string, username: string, device: string}} Knock a session that asks to be admitted
 *
 * @typedef {object} Trace one line of the timeline: a request with its answer, an event, or a change of the channel
 * @property {"request" | "event" | "channel"} sort
 * @property {Date} at
 * @property {string} title
 * @property {"out" | "in" | "none"} direction
 * @property {string} [state]
 * @property {string} [modId]
 * @property {string} [confId]
 * @property {string} [who] the name of the participant who caused an event
 * @property {number} [status]
 * @property {number} [tookMs]
 * @property {number} [seq]
 * @property {boolean} [failed]
 * @property {Description} [description]
 * @property {Record<string, unknown>} [detail]
 */

export {};

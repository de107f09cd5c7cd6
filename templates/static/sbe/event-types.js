/**
 * The events of the channel. `make reference` writes this file from `conferences/event_types.py`.
 * A newer server may add fields: ignore fields that are not listed here.
 *
 * @typedef {import("./types.js").Conference} Conference
 * @typedef {import("./types.js").Description} Description
 * @typedef {import("./types.js").Knock} Knock
 * @typedef {import("./types.js").Origin} Origin
 * @typedef {import("./types.js").Participant} Participant
 * @typedef {import("./types.js").SentMedia} SentMedia
 * @typedef {import("./types.js").Video} Video
 *
 * @typedef {object} InvitationReceived The device rings, for a call or for a move from another device of the user.
 * @property {"invitation-received"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {"call" | "move"} reason `call`, or `move` if the user moves from another device.
 * @property {Origin} from The host who calls. For a move: the user's own participant.
 * @property {SentMedia} media Which media the host sends. For a move: which media the user sent on the device that they leave.
 * @property {string} [modId] Only for a call in `peer`: the caller's modification.
 * @property {Description} [description] Only for a call in `peer`: the caller's offer.
 * @property {Participant} participant The participant that rings.
 * @property {Conference} conference The conference when the event was written.
 * @property {string} ringsUntil When the ringing ends, if no device answers.
 *
 * @typedef {object} InvitationCancelled The device stops ringing. Every ringing device gets this event, except the one that answered or declined.
 * @property {"invitation-cancelled"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {"answered-elsewhere" | "declined-elsewhere" | "caller-cancelled" | "no-answer"} reason Why the ringing ended.
 *
 * @typedef {object} SessionOpen The first answer has opened the conference. Only the host gets this event.
 * @property {"session-open"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Origin} from The participant that answered.
 * @property {string} [modId] Only in `peer`: the modification that the answer has settled.
 * @property {Description} [description] Only in `peer`: the answer to the caller's offer.
 * @property {Conference} conference The conference when the event was written.
 *
 * @typedef {object} ModReceived Another participant, or the focus, has made an offer.
 * @property {"mod-received"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind The purpose of the offer.
 * @property {Origin} from The participant that made the offer, or the focus.
 * @property {Description} description The offer.
 * @property {boolean} restart Whether the offer needs a new peer connection.
 * @property {string} expiresAt When the modification expires, if it is not settled.
 * @property {string | null} [causedBy] Only in offers of the focus: another participant's modification that caused the offer, or null.
 *
 * @typedef {object} ModAccepted The receiver has accepted the offer. Only the initiator gets this event.
 * @property {"mod-accepted"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind The purpose of the offer.
 * @property {Origin} from The participant that accepted the offer, or the focus.
 * @property {Description} description The answer.
 *
 * @typedef {object} ModRejected The offer was rejected, and the media does not change. Only the initiator gets this event.
 * @property {"mod-rejected"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind The purpose of the offer.
 * @property {Origin} from The participant that rejected the offer, or the focus.
 * @property {Participant} [participant] Only in `focus`: the participant that did not accept the change.
 * @property {string} [reason] Only if the focus refused: the code of the refusal (section 8).
 * @property {string} [detail] Only if the focus refused: an explanation for people.
 *
 * @typedef {object} ModCancelled The initiator cancelled the offer, one side left or moved, or a media node failed.
 * @property {"mod-cancelled"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind The purpose of the offer.
 * @property {Origin} from The participant that cancelled the offer, left or moved; or the focus.
 *
 * @typedef {object} ModExpired The offer was not settled in time. The initiator and the receiver get this event.
 * @property {"mod-expired"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind The purpose of the offer.
 *
 * @typedef {object} ParticipantInvited The host has invited another user. Everyone in the conference gets this event, except the host.
 * @property {"participant-invited"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} ParticipantJoined A participant has joined the conference or returned to it.
 * @property {"participant-joined"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} ParticipantOnHold A hold has taken effect. Everyone in the conference gets this event, including the participant on hold.
 * @property {"participant-on-hold"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} ParticipantResumed A resume has taken effect. Everyone in the conference gets this event, including the participant that resumed.
 * @property {"participant-resumed"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} ParticipantMoving A move has begun, and the user's other devices ring. Everyone else in the conference gets this event.
 * @property {"participant-moving"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} ParticipantMoved A participant has answered on its new device.
 * @property {"participant-moved"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} ParticipantMuted A participant was muted or unmuted. Everyone in the conference gets this event, except the requester.
 * @property {"participant-muted"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} ParticipantHand A participant has raised its hand (`handRaisedAt` is an instant), or its hand was lowered (null).
 * @property {"participant-hand"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} ParticipantAway A participant's page closes or reloads (`away` is true), or has come back and made an offer (`away` is false).
 * @property {"participant-away"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} ParticipantLeft A participant has left.
 * @property {"participant-left"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 * @property {"hung-up" | "declined" | "no-answer" | "removed" | "media-lost" | "session-expired" | "conference-ended" | "ended-by-support"} reason Why the participant left.
 *
 * @typedef {object} HostChanged Another participant has become the host. Everyone in the conference gets this event, except the earlier host.
 * @property {"host-changed"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 * @property {Origin} from The earlier host.
 *
 * @typedef {object} MoveExpired The participant armed a move but did not begin it in time. Only that participant gets this event.
 * @property {"move-expired"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant when the event was written.
 *
 * @typedef {object} LockChanged The host has locked or unlocked the open conference. Everyone in it gets this event, except the host.
 * @property {"lock-changed"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {boolean} locked Whether it is locked now.
 *
 * @typedef {object} KnockReceived A session asks to be admitted to the locked conference.
 * @property {"knock"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Knock} knock The session that knocks.
 * @property {string} expiresAt When the knock expires, if the host does not answer.
 *
 * @typedef {object} KnockWithdrawn A knock no longer waits for an answer. Only the host gets this event.
 * @property {"knock-withdrawn"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} knockId The knock.
 * @property {"withdrawn" | "expired" | "entered"} reason `entered` if the session has joined without an answer, because it was invited.
 *
 * @typedef {object} KnockAnswered The knock was answered, or ended without an answer. Only the session that knocked gets this event.
 * @property {"knock-answered"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} knockId The knock.
 * @property {boolean} admitted Whether the session may join.
 * @property {string} [expiresAt] Only if admitted: until when the session may join.
 * @property {"denied" | "expired" | "conference-ended"} [reason] Only if not admitted: why.
 *
 * @typedef {object} SessionTerminated The conference has ended. Everyone in it gets this event, except the participant that ended the conference.
 * @property {"session-terminated"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {"hung-up" | "declined" | "no-answer" | "removed" | "media-lost" | "session-expired" | "conference-ended" | "ended-by-support"} reason Why the conference ended.
 * @property {Conference} conference The conference after its end.
 *
 * @typedef {object} ConnectionChanged The quality of the participant's own connection to the focus has changed for some time.
 * @property {"connection-changed"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} participant The participant's ID.
 * @property {"fine" | "poor" | "interrupted"} connection The quality of the connection.
 * @property {string} since When the connection changed. The event comes later.
 *
 * @typedef {object} ActiveSpeaker The active speaker has changed. Everyone in the conference with an open WebSocket gets this event.
 * @property {"active-speaker"} type
 * @property {string} confId
 * @property {string} participant The participant's ID.
 *
 * @typedef {object} Quality The quality of a participant's connection has changed.
 * @property {"quality"} type
 * @property {string} confId
 * @property {string} participant The participant's ID.
 * @property {"connected" | "poor" | "disconnected"} connection The state of the connection.
 *
 * @typedef {object} Layers The focus needs only these layers of the participant's video.
 * @property {"layers"} type
 * @property {string} confId
 * @property {string} mid The media section of the video.
 * @property {string[]} rids The layers (`a=rid`) that are needed.
 *
 * @typedef {object} PausedVideos The focus has paused videos for this participant, because its connection is too slow for them.
 * @property {"paused-videos"} type
 * @property {string} confId
 * @property {Video[]} videos The videos that are not sent. Empty when all are sent again.
 * @property {"slow-connection"} reason Why they are not sent.
 *
 * @typedef {object} Gap The log no longer has events between the cursor and `oldest`. Read the conferences again, then continue.
 * @property {"gap"} type
 * @property {number} oldest The `seq` of the next event.
 *
 * @typedef {InvitationReceived | InvitationCancelled | SessionOpen | ModReceived | ModAccepted | ModRejected | ModCancelled | ModExpired | ParticipantInvited | ParticipantJoined | ParticipantOnHold | ParticipantResumed | ParticipantMoving | ParticipantMoved | ParticipantMuted | ParticipantHand | ParticipantAway | ParticipantLeft | HostChanged | MoveExpired | LockChanged | KnockReceived | KnockWithdrawn | KnockAnswered | SessionTerminated | ConnectionChanged | ActiveSpeaker | Quality | Layers | PausedVideos | Gap} SessionEvent
 */

export {};

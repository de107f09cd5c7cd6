/**
 * The events of the channel. `make reference` writes this file from `conferences/event_types.py`.
 * A newer server may add fields: leave alone what is not listed here.
 *
 * @typedef {import("./types.js").Conference} Conference
 * @typedef {import("./types.js").Description} Description
 * @typedef {import("./types.js").Origin} Origin
 * @typedef {import("./types.js").Participant} Participant
 *
 * @typedef {object} InvitationReceived The device rings: the user is called, or moves to another of their devices. Every device of the user gets it.
 * @property {"invitation-received"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {"call" | "move"} reason A call, or a move of this very user from another device.
 * @property {Origin} from The host who calls; for a move the user's own participant.
 * @property {string} [modId] Only for a call in `peer`: the modification that the answer settles.
 * @property {Description} [description] Only for a call in `peer`: the caller's offer.
 * @property {Participant} participant The participant that rings.
 * @property {Conference} conference The conference as it is now.
 * @property {string} ringsUntil When it stops ringing unless somebody answers.
 *
 * @typedef {object} InvitationCancelled The device stops ringing.
 * @property {"invitation-cancelled"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {"answered-elsewhere" | "declined-elsewhere" | "caller-cancelled" | "no-answer"} reason What ended the ringing.
 *
 * @typedef {object} SessionOpen Somebody has answered, and the conference is open. Only the host gets it.
 * @property {"session-open"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Origin} from The participant who answered first.
 * @property {string} [modId] Only in `peer`: the modification that the answer has settled.
 * @property {Description} [description] Only in `peer`: the answer to the caller's offer.
 * @property {Conference} conference The conference as it is now.
 *
 * @typedef {object} ModReceived Another participant, or the focus, has made an offer: accept or reject it. Only its receiver gets it.
 * @property {"mod-received"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind What it was offered for.
 * @property {Origin} from The participant, or the focus, that made the offer.
 * @property {Description} description The offer.
 * @property {boolean} restart The offer needs a new peer connection.
 * @property {string} expiresAt When the modification expires unless it is settled.
 * @property {string | null} [causedBy] Only from the focus: the modification of another participant that led to this offer, where there is one.
 *
 * @typedef {object} ModAccepted The receiver has accepted the offer. Only its initiator gets it.
 * @property {"mod-accepted"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind What it was offered for.
 * @property {Origin} from The participant, or the focus, that accepted.
 * @property {Description} description The answer.
 *
 * @typedef {object} ModRejected The offer is rejected, and the media stays as it was. Only its initiator gets it.
 * @property {"mod-rejected"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind What it was offered for.
 * @property {Origin} from The participant, or the focus, that rejected.
 * @property {Participant} [participant] Only in `focus`: the participant that did not follow.
 * @property {string} [reason] Only from the focus: the code of the refusal (section 8).
 * @property {string} [detail] Only from the focus: the refusal in words for people.
 *
 * @typedef {object} ModCancelled The initiator has taken the offer back, or cannot make it any more. Only its receiver gets it.
 * @property {"mod-cancelled"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind What it was offered for.
 * @property {Origin} from The participant, or the focus, that had made the offer.
 *
 * @typedef {object} ModExpired Nobody has settled the offer in time. Both its initiator and its receiver get it.
 * @property {"mod-expired"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {string} modId The modification.
 * @property {"call" | "mod" | "hold" | "resume" | "move" | "sync"} kind What it was offered for.
 *
 * @typedef {object} ParticipantInvited The host has invited another user. Everybody else in the conference gets it.
 * @property {"participant-invited"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant as it is now.
 *
 * @typedef {object} ParticipantJoined A user has answered, or has come back. Everybody else in the conference gets it.
 * @property {"participant-joined"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant as it is now.
 *
 * @typedef {object} ParticipantOnHold A hold has taken effect. Everybody in the conference gets it.
 * @property {"participant-on-hold"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant as it is now.
 *
 * @typedef {object} ParticipantResumed A resume has taken effect. Everybody in the conference gets it.
 * @property {"participant-resumed"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant as it is now.
 *
 * @typedef {object} ParticipantMoving A participant leaves its device, and the user's other devices ring. Everybody else in the conference gets it.
 * @property {"participant-moving"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant as it is now.
 *
 * @typedef {object} ParticipantMoved A participant has answered at another device. The device that it left and everybody else get it.
 * @property {"participant-moved"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant as it is now.
 *
 * @typedef {object} ParticipantMuted The host has muted or unmuted a participant. Everybody but the one who asked for it gets it.
 * @property {"participant-muted"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant as it is now.
 *
 * @typedef {object} ParticipantLeft A participant has left. Everybody else gets it; so does the participant, unless it hung up.
 * @property {"participant-left"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant as it is now.
 * @property {"hung-up" | "declined" | "no-answer" | "removed" | "media-lost" | "session-expired" | "conference-ended" | "ended-by-support"} reason Why it left.
 *
 * @typedef {object} MoveExpired The participant has prepared a move but not begun it in time. Only that participant gets it.
 * @property {"move-expired"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {Participant} participant The participant as it is now.
 *
 * @typedef {object} SessionTerminated The conference has ended. Everybody gets it, except the participant who ended it.
 * @property {"session-terminated"} type
 * @property {string} confId
 * @property {number} seq
 * @property {string} at
 * @property {"hung-up" | "declined" | "no-answer" | "removed" | "media-lost" | "session-expired" | "conference-ended" | "ended-by-support"} reason Why it ended.
 * @property {Conference} conference The conference as its end leaves it.
 *
 * @typedef {object} ActiveSpeaker Another participant speaks now. Everybody in the conference who listens gets it.
 * @property {"active-speaker"} type
 * @property {string} confId
 * @property {string} participant The participant's ID.
 *
 * @typedef {object} Quality The connection between a participant and the focus has changed. Everybody in the conference who listens gets it.
 * @property {"quality"} type
 * @property {string} confId
 * @property {string} participant The participant's ID.
 * @property {"connected" | "poor" | "disconnected"} connection How the focus receives the participant.
 *
 * @typedef {object} Gap The log has no events between the client's cursor and `oldest`. Read the conferences again, then go on.
 * @property {"gap"} type
 * @property {number} oldest The `seq` of the next event.
 *
 * @typedef {InvitationReceived | InvitationCancelled | SessionOpen | ModReceived | ModAccepted | ModRejected | ModCancelled | ModExpired | ParticipantInvited | ParticipantJoined | ParticipantOnHold | ParticipantResumed | ParticipantMoving | ParticipantMoved | ParticipantMuted | ParticipantLeft | MoveExpired | SessionTerminated | ActiveSpeaker | Quality | Gap} SessionEvent
 */

export {};

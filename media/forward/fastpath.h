/* What the fast path and Python both read and write. The C compiler includes this, and cffi reads it
 * (media/forward/memory.py).
 *
 * Each structure belongs to the Python object that its comment names, lives as long as that, and is the only place where
 * these values stand: Stream and Track of media/forward/streams.py and media/forward/tracks.py look into them. Instants
 * are in seconds of the loop's clock. Addresses of what belongs to libsrtp, to the kernel or to another module are uintptr_t.
 */

enum limits {
    SLOTS_IN = 64,            /* datagrams read at once */
    SLOTS_OUT = 512,          /* encrypted packets that wait for the kernel */
    SLOT_SIZE = 2048,         /* bytes of each, with what SRTP adds */
    NAME_SIZE = 28,           /* bytes of a sockaddr, as long as the longer one */
    FULL = 64,                /* messages that are worth a system call: nobody waits for more */
    LARGEST_SEGMENT = 1216,  /* bytes of a packet that, encrypted, fits every way of IPv6 (1280 bytes, RFC 8200 section 5) */
    HISTORY = 512,            /* packets kept of a track: more than a second of video. A power of two */
    ARENA_SIZE = 614400,      /* bytes of them: 512 packets of 1200 */
    ELEMENT_IDS = 15,         /* IDs that a one-byte header extension may use, and 0 (RFC 8285 section 4.2) */
    QUIET = 60,               /* dBov below full scale, under which there is only noise */
    BUCKETS = 1024,           /* of the table of addresses. A power of two */
    NEAR = 3000               /* packets from the expected one: more than a second of video, RFC 3550 appendix A.1 */
};

/* What became of a datagram. */
enum verdict {
    UNTOUCHED = 0,            /* Python is to take it as it came */
    DECRYPTED = 1,            /* authentic, within the leg's allowances, and something else than the next packet */
    SETTLED = 2               /* forwarded, or dropped and counted */
};

/* streams.Stream */
struct stream {
    int64_t expected;         /* the next sequence number, counted on beyond 16 bits; negative before the first packet */
    int64_t received;         /* packets */
    double transit;           /* of the last packet, in units of the RTP clock (RFC 3550 section 6.4.1) */
    double jitter;            /* likewise */
    double asks_at;           /* when missing packets are to be asked for (again); infinite where none are */
    int32_t clock_rate;       /* of the RTP clock, in Hz */
};

/* history.History */
struct kept {
    int64_t sequence;         /* in the track's numbering; negative where nothing was kept */
    uint64_t position;        /* of the packet in all that was ever written */
    uint32_t size;
    uint32_t timestamp;       /* in the track's numbering */
};

struct history {
    uint8_t *arena;           /* what was written last, around and around */
    uint64_t position;        /* bytes ever written, and left out at the arena's end */
    struct kept kept[HISTORY]; /* by the last bits of the sequence number */
};

/* router.Variant: receivers that get the same bytes before encryption. */
struct variant {
    uint8_t payload_type;
    bool gso;                 /* several packets may go to a receiver in one message */
    uint16_t foreign;         /* the IDs of header extensions, as bits, that are not the receivers' own */
    uint8_t ids[ELEMENT_IDS]; /* the receivers' ID for each of the sender's; 0 where they have none */
    int64_t distance;         /* added to sequence numbers */
    int32_t receivers;
    uintptr_t *sessions;      /* of each receiver its SRTP session */
    uintptr_t *names;         /* and its sockaddr */
};

/* router.Route */
struct route {
    uint8_t payload_type;     /* the sender's */
    int32_t variants;
    struct variant *variant;
};

/* router.Track */
struct track {
    uint32_t ssrc;            /* as receivers see it */
    bool resumes;             /* the next packet comes after a pause; always so while nothing is let through */
    uint8_t level_id;         /* of the header extension with the audio level (RFC 6464); 0 without */
    int64_t last_sequence;    /* the newest packet, counted on beyond 16 bits; negative before the first one */
    int64_t sequence_shift;   /* from the source's numbering to the track's */
    uint32_t last_timestamp;
    uint32_t timestamp_shift;
    double last_at;
    int64_t packets;
    int64_t octets;           /* of payloads, with their header extensions */
    double loudness;
    struct stream *stream;    /* the present source */
    struct history *history;  /* of video */
    int32_t routes;
    struct route *route;
};

/* An entry of Leg.streams that is no retransmission. */
struct flow {
    uint32_t ssrc;
    struct stream *stream;
    struct track *track;
};

/* leg.Leg */
struct leg {
    uintptr_t session;        /* SRTP, inward; 0 while there is none */
    int32_t packets_left;     /* of what it may send within a tick */
    int32_t bytes_left;
    int32_t failures_left;    /* packets that libsrtp may refuse within a tick, whatever they claim to be */
    int64_t excess;           /* datagrams beyond what it may send */
    int64_t unauthentic;      /* refused by libsrtp, or not tried because too many were */
    int32_t flows;
    struct flow *flow;
};

/* The control message that tells the kernel where to cut a GSO batch (udp(7)): struct cmsghdr with what it carries. */
struct segment {
    uint64_t length;
    int32_t level;
    int32_t type;
    uint16_t size;
};

/* fastpath.FastPath. The headers, struct mmsghdr of recvmmsg(2) and
 * sendmmsg(2), are those of media/forward/datagrams.py, with their iovecs. */
struct fastpath {
    int32_t fd;
    int32_t longest_batch;
    uintptr_t protect;        /* srtp_protect and srtp_unprotect of libsrtp */
    uintptr_t unprotect;
    uintptr_t headers_in;
    uintptr_t headers_out;
    uintptr_t iovecs_out;     /* struct iovec of each slot that goes out */
    uint8_t *slots_in;
    uint8_t *slots_out;
    uint8_t verdicts[SLOTS_IN];      /* of each datagram that the last turn read */
    uintptr_t gso_unsupported[SLOTS_IN]; /* sockaddrs that GSO batches could not be sent to, for Python to take */
    int32_t gso_unsupported_count;
    int64_t sent;             /* packets for each receiver, whatever became of them */
    int64_t unprotected;      /* those that could not be encrypted */
    int64_t undelivered;      /* messages that the kernel did not take */
    struct address *addresses[BUCKETS];
    struct segment segments[SLOTS_OUT];          /* of each message that goes out */
    uint8_t rewritten[SLOTS_IN * SLOT_SIZE];     /* packets as receivers get them, but for encryption */
};

/* Read what waits at the socket, forward what is plainly the next packet of its stream, and leave the rest to Python, with
 * a verdict for each datagram. Returns how many were read. */
int fastpath_turn(struct fastpath *, double now);

/* Let media from a sockaddr be a leg's from now on. Returns -1 without memory for it. */
int fastpath_assign(struct fastpath *, const uint8_t *name, struct leg *);

/* Let media from a sockaddr be nobody's. */
void fastpath_release(struct fastpath *, const uint8_t *name);

/* Forget all sockaddrs. */
void fastpath_clear(struct fastpath *);

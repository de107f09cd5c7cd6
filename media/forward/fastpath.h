/* The memory that the fast path and Python share. The C compiler includes this file, and cffi reads it
 * (media/forward/memory.py).
 *
 * Each structure belongs to the Python object that its comment names, and lives as long as that object. Its values are
 * stored nowhere else: the Python object reads and writes them here. Instants are in seconds of the loop's clock.
 * Addresses of objects of libsrtp, the kernel or another module are uintptr_t.
 */

enum limits {
    SLOTS_IN = 64,            /* datagrams read at once */
    SLOTS_OUT = 512,          /* encrypted packets that wait for the kernel */
    SLOT_SIZE = 2048,         /* bytes of a slot, including those that SRTP adds */
    NAME_SIZE = 28,           /* bytes of a struct sockaddr_in6, the larger sockaddr */
    FULL = 64,                /* once this many messages are ready, they are sent without waiting for more */
    LARGEST_SEGMENT = 1216,   /* bytes of a packet that fits any IPv6 path when encrypted (1280 bytes, RFC 8200) */
    HISTORY = 512,            /* packets kept of a track: more than a second of video. A power of two */
    ARENA_SIZE = 614400,      /* bytes of an arena: 512 packets of 1200 */
    ELEMENT_IDS = 15,         /* IDs that a one-byte header extension may use, and 0 (RFC 8285 section 4.2) */
    MOST_ELEMENTS = 32,       /* elements and runs of padding in a header extension: rtp.MOST_ELEMENTS */
    ARRIVALS = 1024,          /* packets of a leg whose arrival is remembered: half a second at its limit. A power of two */
    LATE = 128,               /* a packet that comes more than this many numbers late counts as lost */
    DEPARTURES = 2048,        /* packets to a leg that are remembered until its feedback comes. A power of two */
    TICKS_A_SECOND = 4000,    /* of arrival times: the unit of transport-wide feedback, 250 us */
    QUIET = 60,               /* audio level in -dBov; anything quieter is noise */
    BUCKETS = 1024,           /* buckets of the table of addresses. A power of two */
    QUEUE = 128,              /* encrypted packets that wait for a TCP connection. A power of two */
    LONGEST_WAIT = 1,         /* a datagram that waited for more seconds than this is an effect of a clock that was set */
    NEAR = 3000               /* largest plausible distance to the expected packet: over 1 s of video (RFC 3550, A.1) */
};

/* What the fast path did with a datagram. */
enum verdict {
    UNTOUCHED = 0,            /* nothing: Python must take the datagram as it came */
    DECRYPTED = 1,            /* decrypted and charged to the leg; not the expected packet, so Python must take it */
    SETTLED = 2               /* forwarded, or dropped and counted */
};

/* streams.Stream */
struct stream {
    int64_t expected;         /* next sequence number, counted on beyond 16 bits; negative before the first packet */
    int64_t received;         /* how many packets have arrived */
    double transit;           /* last packet's arrival minus timestamp, in RTP clock units (RFC 3550 section 6.4.1) */
    double jitter;            /* in units of the RTP clock */
    double asks_at;           /* when to request missing packets next; infinite while none is missing */
    int32_t clock_rate;       /* of the RTP clock, in Hz */
};

/* history.Arena. Several histories may share one. */
struct arena {
    uint8_t *bytes;           /* a ring of the bytes written last */
    uint64_t position;        /* bytes ever written, including those skipped at the ring's end */
};

/* history.History */
struct kept {
    int64_t sequence;         /* in the track's numbering; negative in an unused entry */
    uint64_t position;        /* where the packet begins: the arena's position before it was written */
    uint32_t size;
    uint32_t timestamp;       /* in the track's numbering */
};

struct history {
    struct arena *arena;
    struct kept kept[HISTORY]; /* indexed by the last bits of the sequence number */
};

/* departures.Departures: the packets sent to a leg with transport-wide numbers */
struct departure {
    double at;                /* in seconds */
    int32_t size;             /* in bytes, before encryption; 0 once the leg has acknowledged the packet */
    int32_t probe;            /* the probe to which the packet belongs; 0 for an ordinary packet */
};

struct departures {
    int64_t next;             /* the number of the next packet, counted on beyond 16 bits */
    int64_t reference;        /* the last reference time in the leg's feedback, counted on beyond 24 bits */
    struct departure sent[DEPARTURES]; /* by the last bits of the number */
};

/* sendqueue.SendQueue: encrypted packets that wait until a TCP connection accepts them */
struct send_queue {
    int64_t begin;            /* number of the oldest packet that waits */
    int64_t end;              /* number of the next packet */
    int64_t dropped;          /* packets that were dropped to make room for newer ones */
    uint16_t sizes[QUEUE];    /* by the last bits of the number */
    uint8_t packets[QUEUE * SLOT_SIZE];
};

/* tracks.Variant: receivers that get the same bytes before encryption. */
struct variant {
    uint8_t payload_type;
    bool gso;                 /* whether the network path to these receivers supports GSO batches */
    uint16_t foreign;         /* a bit for each ID of a header extension that must change or be blanked */
    uint8_t ids[ELEMENT_IDS]; /* the receivers' ID for each of the sender's; 0 where the receivers have none */
    int64_t distance;         /* added to the track's sequence numbers */
    uint32_t timestamp_shift; /* added to the track's timestamps */
    uint16_t picture_shift;   /* added to VP8's picture IDs */
    uint8_t base_shift;       /* added to VP8's TL0PICIDX */
    uint8_t inner;            /* payload type of the primary encoding that is all these receivers get of RED; 0: all */
    int32_t receivers;
    uintptr_t *sessions;      /* the SRTP session of each receiver */
    uintptr_t *names;         /* the sockaddr of each receiver, or its struct send_queue */
    bool tcp;                 /* whether these receivers use TCP, and so have a struct send_queue */
    uint8_t number_id;        /* the receivers' ID of the header extension with transport-wide numbers; 0: no numbers */
    struct departures **departures; /* of each receiver, if packets have such numbers */
};

/* tracks.Route */
struct route {
    uint8_t payload_type;     /* as the sender numbers it */
    int32_t variants;
    struct variant *variant;
};

/* tracks.Track */
struct track {
    uint32_t ssrc;            /* as receivers see it */
    bool resumes;             /* whether the next packet comes after a pause; always true while the track is closed */
    bool is_open;             /* whether packets are forwarded */
    bool is_awaited;          /* whether receivers wait for the track's next key frame, which Python must see */
    uint8_t level_id;         /* ID of the header extension with the audio level (RFC 6464); 0 without one */
    int64_t last_sequence;    /* the newest packet, counted on beyond 16 bits; negative before the first one */
    int64_t sequence_shift;   /* added to the source's numbers to get the track's */
    uint32_t last_timestamp;
    uint32_t timestamp_shift;
    double last_at;
    double heard_at;          /* when a packet last came, forwarded or not */
    int64_t packets;
    int64_t octets;           /* of payloads, with their header extensions */
    double loudness;
    struct stream *stream;    /* the present source */
    struct history *history;  /* for video only; NULL for audio */
    int32_t routes;
    struct route *route;
};

/* An entry of Sources.streams. Streams of retransmissions are left out. */
struct flow {
    uint32_t ssrc;
    struct stream *stream;
    struct track *track;
};

/* arrivals.Arrivals */
struct arrivals {
    int64_t newest;           /* the highest transport-wide number, counted on beyond 16 bits; negative before the first */
    int64_t unreported;       /* the lowest number that the next feedback must report */
    int64_t at[ARRIVALS];     /* by the last bits of the number, in ticks; -1 for a packet that has not arrived */
    uint8_t id;               /* of the header extension with the number; 0 if it was not negotiated */
};

/* leg.Leg: its SRTP session, its Quota and its Sources. */
struct leg {
    uintptr_t session;        /* the SRTP session that decrypts; 0 while there is none */
    int32_t packets_left;     /* packets that the leg may still send within this tick */
    int32_t bytes_left;       /* bytes that the leg may still send within this tick */
    int32_t failures_left;    /* packets that libsrtp may still refuse within this tick */
    int64_t excess;           /* datagrams dropped because they exceeded the quota or came without a session */
    int64_t unauthentic;      /* packets that libsrtp refused, or that were not tried after too many refusals */
    struct arrivals *arrivals;
    int32_t flows;
    struct flow *flow;
};

/* acknowledgement.Report, and how many packets have arrived: the length of its lists */
struct report {
    int32_t arrived;
    int32_t lost;
    double sent_at[DEPARTURES];
    double arrived_at[DEPARTURES];
    int32_t sizes[DEPARTURES]; /* without the overhead of IP, UDP and SRTP */
    int32_t probes[DEPARTURES];
};

/* The control message that states the size of a GSO batch's datagrams (udp(7)): struct cmsghdr and its data. */
struct segment {
    uint64_t length;
    int32_t level;
    int32_t type;
    uint16_t size;
};

/* fastpath.FastPath. headers_in and headers_out are arrays of struct mmsghdr (recvmmsg(2), sendmmsg(2)). These arrays,
 * their iovecs and the slots belong to the inbox and the outbox of media/forward/datagrams.py. */
struct fastpath {
    int32_t fd;
    int32_t longest_batch;
    uintptr_t protect;        /* srtp_protect and srtp_unprotect of libsrtp */
    uintptr_t unprotect;
    uintptr_t headers_in;
    uintptr_t headers_out;
    uintptr_t iovecs_out;     /* the struct iovec of each outgoing slot */
    uint8_t *slots_in;
    uint8_t *slots_out;
    uint8_t verdicts[SLOTS_IN];      /* of each datagram that the last turn read */
    double arrived[SLOTS_IN];        /* when each of these datagrams has arrived, as far as the kernel knows it */
    uintptr_t gso_unsupported[SLOTS_IN]; /* sockaddrs whose paths refused a GSO batch; Python reads and clears them */
    int32_t gso_unsupported_count;
    int64_t sent;             /* packets, counted once per receiver, whether or not the kernel accepted them */
    int64_t unprotected;      /* packets that could not be encrypted; `sent` includes them */
    int64_t undelivered;      /* messages that the kernel did not accept; a GSO batch is one message */
    struct address *addresses[BUCKETS];
    struct segment segments[SLOTS_OUT];          /* of each outgoing message */
    uint8_t rewritten[SLOTS_IN * SLOT_SIZE];     /* packets as receivers get them, before encryption */
};

/* Read the datagrams that wait at the socket. Forward the expected packets of streams, and leave the rest to Python.
 * Set a verdict for each datagram. Returns the number of datagrams read. */
int fastpath_turn(struct fastpath *, double now);

/* Read transport-wide feedback, and report what it says about the departed packets. Returns -1 if it is malformed. */
int fastpath_acknowledge(struct departures *, const uint8_t *feedback, int size, struct report *);

/* From now on, treat media from this sockaddr as the leg's. Returns -1 if there is not enough memory. */
int fastpath_assign(struct fastpath *, const uint8_t *name, struct leg *);

/* Leave media from a sockaddr to Python from now on. */
void fastpath_release(struct fastpath *, const uint8_t *name);

/* Forget all sockaddrs. */
void fastpath_clear(struct fastpath *);

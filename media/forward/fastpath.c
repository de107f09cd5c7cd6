/* The fast path: forwards the expected packets of streams, and leaves everything else to Python.
 *
 * media/forward/streams.py and media/forward/tracks.py define the effect of a packet on streams and tracks. This file
 * implements the same effect for one case only: a packet that directly follows its predecessor. Without this file,
 * those two modules handle every packet.
 *
 * No packet is trusted before libsrtp has authenticated it. No packet is read beyond the length that libsrtp returns.
 *
 * Only the thread of the node's loop uses a struct fastpath and the memory that it points to.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "fastpath.h"

#define SCM_TIMESTAMPNS_OLD 35 /* SO_TIMESTAMPNS: the name has two meanings, depending on the size of time_t */
#define UDP_SEGMENT_OPTION 103 /* UDP_SEGMENT of linux/udp.h, which older headers lack */

enum {
    HEADER_SIZE = 12,
    NUMBER_AT = HEADER_SIZE + 5, /* where make_room places a transport-wide number */
    RTCP_FIRST = 192, /* payload types, with the marker bit, that are RTCP (RFC 5761 section 4) */
    RTCP_LAST = 223
};

_Static_assert(sizeof(struct segment) == CMSG_SPACE(sizeof(uint16_t)), "struct cmsghdr of 64-bit Linux");
_Static_assert(offsetof(struct segment, size) == CMSG_LEN(0), "struct cmsghdr of 64-bit Linux");

typedef int (*crypt)(void *session, void *packet, int *length);

/* An incoming packet that will be forwarded. */
struct arrival {
    struct track *track;
    const struct route *route;
    const uint8_t *packet;
    int size;
    int elements;
    int number_at; /* where the sender's transport-wide number is; 0 if there is none */
    int64_t sequence;
    uint32_t timestamp;
};

/* The output of a turn that is ready to send: slots with encrypted packets, and messages that consist of such slots. */
struct outbound {
    struct fastpath *path;
    struct mmsghdr *headers;
    double now;
    int slots;
    int messages;
};

/* A packet as the receivers of a variant get it. */
struct written {
    int size;
    int number_at; /* where its transport-wide number is */
};

static inline uint16_t read16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static inline uint32_t read32(const uint8_t *at) { return (uint32_t)read16(at) << 16 | read16(at + 2); }

static inline void write16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void write32(uint8_t *at, uint32_t value) {
    write16(at, (uint16_t)(value >> 16));
    write16(at + 2, (uint16_t)value);
}

/* --- Addresses ------------------------------------------------------------------------------------------------------ */

struct address {
    struct address *next;
    struct leg *leg;
    uint8_t name[NAME_SIZE];
};

static struct address **bucket_of(struct fastpath *path, const uint8_t *name) {
    uint64_t parts[4] = {0};
    memcpy(parts, name, NAME_SIZE);
    uint64_t mixed = (parts[0] ^ parts[1] * 31 ^ parts[2] * 131 ^ parts[3] * 1031) * 0x9E3779B97F4A7C15u;
    return &path->addresses[mixed >> 54 & (BUCKETS - 1)];
}

/* Return where the pointer to a sockaddr's entry is stored. Without an entry, that pointer is NULL; set it to
 * add an entry. */
static struct address **place_of(struct fastpath *path, const uint8_t *name) {
    struct address **place = bucket_of(path, name);
    while (*place != NULL && memcmp((*place)->name, name, NAME_SIZE) != 0)
        place = &(*place)->next;
    return place;
}

int fastpath_assign(struct fastpath *path, const uint8_t *name, struct leg *leg) {
    struct address **place = place_of(path, name);
    if (*place == NULL) {
        struct address *made = calloc(1, sizeof *made);
        if (made == NULL)
            return -1;
        memcpy(made->name, name, NAME_SIZE);
        *place = made;
    }
    (*place)->leg = leg;
    return 0;
}

void fastpath_release(struct fastpath *path, const uint8_t *name) {
    struct address **place = place_of(path, name), *gone = *place;
    if (gone != NULL) {
        *place = gone->next;
        free(gone);
    }
}

void fastpath_clear(struct fastpath *path) {
    for (int i = 0; i < BUCKETS; i++) {
        while (path->addresses[i] != NULL) {
            struct address *gone = path->addresses[i];
            path->addresses[i] = gone->next;
            free(gone);
        }
    }
}

/* --- In ------------------------------------------------------------------------------------------------------------- */

static struct flow *flow_of(struct leg *leg, uint32_t ssrc) {
    for (int i = 0; i < leg->flows; i++)
        if (leg->flow[i].ssrc == ssrc)
            return &leg->flow[i];
    return NULL;
}

static const struct route *route_of(const struct track *track, uint8_t payload_type) {
    for (int i = 0; i < track->routes; i++)
        if (track->route[i].payload_type == payload_type)
            return &track->route[i];
    return NULL;
}

/* The values that the fast path reads from a packet's header extension; -1 where the packet has none. */
struct stated {
    int level;     /* audio level (RFC 6464) */
    int number;    /* transport-wide sequence number */
    int number_at; /* where it is in the packet; 0 if there is none */
};

/* Return a bit for each ID in a packet's header extension. Return -1 for an unusual packet: one with padding, with
 * contributing sources, with elements that are not one-byte elements, or with too many (MOST_ELEMENTS). Fill `stated`
 * from the first elements with these IDs; 0 is no ID. */
static int read_elements(const uint8_t *packet, int size, int level_id, int number_id, struct stated *stated) {
    if (packet[0] == 0x80)
        return 0;
    if (packet[0] != 0x90 || size < HEADER_SIZE + 4 || read16(packet + 12) != 0xBEDE)
        return -1;
    int at = HEADER_SIZE + 4, end = at + 4 * read16(packet + 14), ids = 0, left = MOST_ELEMENTS;
    if (end > size)
        return -1;
    while (at < end) {
        int id = packet[at] >> 4, next = at + 2 + (packet[at] & 0x0F);
        if (left-- == 0)
            return -1;
        if (packet[at] == 0) {
            while (at < end && packet[at] == 0) /* padding */
                at++;
            continue;
        }
        if (id == 15 || next > end)
            return -1;
        if (!(ids >> id & 1) && id != 0) {
            if (id == level_id)
                stated->level = packet[at + 1] & 0x7F;
            if (id == number_id && next - at == 3) {
                stated->number_at = at + 1;
                stated->number = read16(packet + at + 1);
            }
        }
        ids |= 1 << id;
        at = next;
    }
    return ids;
}

/* Like Arrivals._note. */
static void note(struct arrivals *arrivals, uint16_t number, double now) {
    if (arrivals->newest < 0) {
        arrivals->newest = 0xFFFF + number;
        arrivals->unreported = 0x10000 + number;
    }
    int64_t place = arrivals->newest + (int16_t)(number - arrivals->newest);
    if (place > arrivals->newest) {
        int64_t oldest = place - ARRIVALS + 1, skipped = arrivals->newest + 1;
        for (skipped = skipped > oldest ? skipped : oldest; skipped <= place; skipped++)
            arrivals->at[skipped & (ARRIVALS - 1)] = -1;
        arrivals->newest = place;
        if (arrivals->unreported < oldest)
            arrivals->unreported = oldest;
    }
    int64_t *at = &arrivals->at[place & (ARRIVALS - 1)];
    if (place > arrivals->newest - LATE && *at < 0) {
        *at = (int64_t)(now * TICKS_A_SECOND);
        if (arrivals->unreported > place)
            arrivals->unreported = place;
    }
}

/* Like Stream.take, but only for the expected packet. */
static void take(struct stream *stream, uint32_t timestamp, double now) {
    stream->expected++;
    stream->received++;
    double transit = now * stream->clock_rate - timestamp, difference = fabs(transit - stream->transit);
    stream->transit = transit;
    if (difference < stream->clock_rate)
        stream->jitter += (difference - stream->jitter) / 16;
}

/* Like History.keep. */
static void keep(struct history *history, int64_t sequence, uint32_t timestamp, const uint8_t *packet, int size) {
    struct arena *arena = history->arena;
    uint64_t start = arena->position % ARENA_SIZE;
    if (start + (uint64_t)size > ARENA_SIZE) {
        arena->position += ARENA_SIZE - start;
        start = 0;
    }
    memcpy(arena->bytes + start, packet, (size_t)size);
    history->kept[sequence & (HISTORY - 1)] =
        (struct kept){.sequence = sequence, .position = arena->position, .size = (uint32_t)size, .timestamp = timestamp};
    arena->position += (uint64_t)size;
}

/* Like Track.place, but only for the packet that follows the newest one. */
static void place(struct track *track, struct arrival *arrival, uint32_t timestamp, double now) {
    arrival->track = track;
    arrival->sequence = ++track->last_sequence;
    arrival->timestamp = track->last_timestamp = timestamp + track->timestamp_shift;
    track->last_at = now;
    track->packets++;
    track->octets += arrival->size - HEADER_SIZE;
    if (track->history != NULL)
        keep(track->history, arrival->sequence, arrival->timestamp, arrival->packet, arrival->size);
}

/* Like Track._pass_over. */
static void pass_over(struct track *track, int size) {
    track->resumes = true;
    track->packets++;
    track->octets += size - HEADER_SIZE;
}

/* Like Sources.is_plausible, but only for a packet of a known stream. */
static bool is_near(const struct stream *stream, uint16_t sequence) {
    return stream->expected < 0 || (uint16_t)(sequence - stream->expected + NEAR) < 2 * NEAR;
}

/* Return when a datagram has arrived: the kernel states how long it has waited. `real` is the time of day in seconds. */
static double arrival_of(const struct msghdr *header, double now, const struct timespec *real) {
    const struct cmsghdr *control = header->msg_control;
    if (header->msg_controllen < CMSG_SPACE(sizeof(struct timespec)) || control->cmsg_type != SCM_TIMESTAMPNS_OLD)
        return now;
    struct timespec at;
    memcpy(&at, CMSG_DATA(control), sizeof at);
    double waited = (double)(real->tv_sec - at.tv_sec) + (double)(real->tv_nsec - at.tv_nsec) / 1e9;
    return waited > 0 && waited < LONGEST_WAIT ? now - waited : now;
}

/* Take one datagram, and return its verdict. If the packet will be forwarded, fill `arrival`. Otherwise leave
 * `arrival->track` NULL. */
static uint8_t receive(struct fastpath *path, struct mmsghdr *header, uint8_t *packet, double now, double arrived,
                       struct arrival *arrival) {
    int size = (int)header->msg_len;
    if (size < HEADER_SIZE || packet[0] >> 6 != 2 || (packet[1] >= RTCP_FIRST && packet[1] <= RTCP_LAST))
        return UNTOUCHED;
    struct address *address = *place_of(path, header->msg_hdr.msg_name);
    struct leg *leg = address != NULL ? address->leg : NULL;
    struct flow *flow = leg != NULL ? flow_of(leg, read32(packet + 8)) : NULL;
    if (flow == NULL)
        return UNTOUCHED;
    if (leg->packets_left < 1 || leg->bytes_left < size || leg->session == 0) {
        leg->excess++;
        return SETTLED;
    }
    if ((leg->failures_left < 1 && !is_near(flow->stream, read16(packet + 2))) ||
        ((crypt)path->unprotect)((void *)leg->session, packet, &size) != 0) {
        leg->failures_left--;
        leg->unauthentic++;
        return SETTLED;
    }
    leg->packets_left--;
    leg->bytes_left -= (int)header->msg_len;
    header->msg_len = (unsigned int)size;

    struct stream *stream = flow->stream;
    struct track *track = flow->track;
    uint16_t sequence = read16(packet + 2);
    uint32_t timestamp = read32(packet + 4);
    struct stated stated = {-1, -1, 0};
    arrival->packet = packet;
    arrival->size = size;
    arrival->elements = read_elements(packet, size, track->level_id, leg->arrivals->id, &stated);
    arrival->route = route_of(track, packet[1] & 0x7F);
    if (arrival->elements < 0 || stream->expected < 0 || now >= stream->asks_at || sequence != (uint16_t)stream->expected)
        return DECRYPTED;
    bool is_unused = track->routes == 0 && track->is_open && !track->is_awaited;
    if (!is_unused && (arrival->route == NULL || track->resumes || track->is_awaited || track->stream != stream ||
                       stream->expected + track->sequence_shift != track->last_sequence + 1))
        return DECRYPTED;
    take(stream, timestamp, now);
    track->heard_at = now;
    arrival->number_at = stated.number_at;
    if (stated.number >= 0)
        note(leg->arrivals, (uint16_t)stated.number, arrived);
    if (stated.level >= 0 && stated.level < QUIET)
        track->loudness += 1 - stated.level / (double)QUIET;
    if (is_unused) {
        pass_over(track, size);
        return SETTLED;
    }
    place(track, arrival, timestamp, now);
    return SETTLED;
}

/* --- Feedback ------------------------------------------------------------------------------------------------------- */

/* The constants of rtcp.py with these names. */
enum { SMALL = 1, LARGE = 2, FEEDBACK_HEADER = 20, TICKS_A_REFERENCE = 256 };

/* Read the packet chunks of transport-wide feedback: a symbol for each of `count` packets. Return where the deltas
 * begin, or -1 if the feedback is malformed. */
static int read_chunks(const uint8_t *feedback, int size, uint8_t *symbols, int count) {
    int at = FEEDBACK_HEADER;
    for (int done = 0; done < count; at += 2) {
        if (at + 2 > size)
            return -1;
        int chunk = read16(feedback + at), left = count - done;
        int length = !(chunk & 0x8000) ? chunk & 0x1FFF : chunk & 0x4000 ? 7 : 14;
        if (length == 0)
            return -1;
        length = length < left ? length : left;
        if (!(chunk & 0x8000))
            memset(symbols + done, chunk >> 13, (size_t)length);
        else if (chunk & 0x4000)
            for (int i = 0; i < length; i++)
                symbols[done + i] = (uint8_t)(chunk >> (12 - 2 * i) & 3);
        else
            for (int i = 0; i < length; i++)
                symbols[done + i] = (uint8_t)(chunk >> (13 - i) & 1);
        done += length;
    }
    return at;
}

/* Like rtcp.read_transport_feedback and Departures.acknowledge. */
int fastpath_acknowledge(struct departures *departures, const uint8_t *feedback, int size, struct report *report) {
    uint8_t symbols[0x10000];
    report->arrived = report->lost = 0;
    if (size < FEEDBACK_HEADER)
        return -1;
    int count = read16(feedback + 14), at = read_chunks(feedback, size, symbols, count);
    int64_t end = at;
    for (int i = 0; i < count && at >= 0; i++)
        end += symbols[i] == SMALL || symbols[i] == LARGE ? symbols[i] : 0;
    if (at < 0 || end > size)
        return -1;
    int32_t reference = (int32_t)(read32(feedback + 16) >> 8);
    departures->reference += ((reference - departures->reference + 0x800000) & 0xFFFFFF) - 0x800000;
    int64_t ticks = departures->reference * TICKS_A_REFERENCE, next = departures->next;
    int64_t number = next - 1 - (uint16_t)(next - 1 - read16(feedback + 12));
    int64_t oldest = next > DEPARTURES ? next - DEPARTURES : 0;
    for (int i = 0; i < count; i++, number++) {
        bool has_arrived = symbols[i] == SMALL || symbols[i] == LARGE;
        if (has_arrived) {
            ticks += symbols[i] == SMALL ? feedback[at] : (int16_t)read16(feedback + at);
            at += symbols[i];
        }
        struct departure *departure = &departures->sent[number & (DEPARTURES - 1)];
        if (number < oldest || number >= next || departure->size == 0)
            continue;
        if (has_arrived) {
            report->sent_at[report->arrived] = departure->at;
            report->arrived_at[report->arrived] = (double)ticks / TICKS_A_SECOND;
            report->sizes[report->arrived] = departure->size;
            report->probes[report->arrived++] = departure->probe;
        } else {
            report->lost++;
        }
        departure->size = 0;
    }
    return 0;
}

/* --- Out ------------------------------------------------------------------------------------------------------------ */

/* Send the packets of a GSO batch one by one, because the network path to their receiver does not support GSO. */
static void send_singly(struct fastpath *path, struct mmsghdr *batch) {
    struct msghdr *whole = &batch->msg_hdr;
    if (path->gso_unsupported_count < SLOTS_IN)
        path->gso_unsupported[path->gso_unsupported_count++] = (uintptr_t)whole->msg_name;
    for (size_t i = 0; i < whole->msg_iovlen; i++) {
        struct msghdr one = {.msg_name = whole->msg_name, .msg_namelen = whole->msg_namelen};
        one.msg_iov = whole->msg_iov + i;
        one.msg_iovlen = 1;
        if (sendmsg(path->fd, &one, MSG_DONTWAIT) < 0)
            path->undelivered++;
    }
}

/* Send the messages that are ready. Messages that the kernel does not accept now are dropped, as on a full link. */
static void flush(struct outbound *out) {
    struct fastpath *path = out->path;
    int sent = 0;
    while (sent < out->messages) {
        int done = sendmmsg(path->fd, out->headers + sent, (unsigned int)(out->messages - sent), MSG_DONTWAIT);
        if (done > 0) {
            sent += done;
        } else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
            path->undelivered += out->messages - sent;
            break;
        } else if ((errno == EIO || errno == EINVAL || errno == EMSGSIZE) && out->headers[sent].msg_hdr.msg_controllen) {
            send_singly(path, out->headers + sent++);
        } else if (errno != EINTR) {
            /* This error affects one destination only, so the next message may still be sent. */
            path->undelivered++;
            sent++;
        }
    }
    out->slots = out->messages = 0;
}

/* Make one message of these slots. Several slots make a GSO batch. */
static void lay(struct outbound *out, uintptr_t name, struct iovec *first, int count) {
    struct msghdr *header = &out->headers[out->messages].msg_hdr;
    struct segment *segment = &out->path->segments[out->messages++];
    header->msg_name = (void *)name;
    header->msg_iov = first;
    header->msg_iovlen = (size_t)count;
    header->msg_control = count > 1 ? segment : NULL;
    header->msg_controllen = count > 1 ? sizeof *segment : 0;
    *segment = (struct segment){
        CMSG_LEN(sizeof(uint16_t)), IPPROTO_UDP, UDP_SEGMENT_OPTION, (uint16_t)first->iov_len};
}

/* Like Departures.note. */
static uint16_t depart(struct departures *departures, int size, double now) {
    int64_t number = departures->next++;
    departures->sent[number & (DEPARTURES - 1)] = (struct departure){now, size, 0};
    return (uint16_t)number;
}

/* Like sendqueue.put. */
static void put(struct send_queue *queue, const uint8_t *packet, int size) {
    int64_t place = queue->end++ & (QUEUE - 1);
    if (queue->end - queue->begin > QUEUE) {
        queue->begin++;
        queue->dropped++;
    }
    queue->sizes[place] = (uint16_t)size;
    memcpy(queue->packets + place * SLOT_SIZE, packet, (size_t)size);
}

/* Encrypt packets for a receiver, and make messages of them. Packets of one size make a GSO batch. Its last packet may
 * be shorter. */
static void send_to(struct outbound *out, const struct variant *variant, int receiver, const struct written *written,
                    int count) {
    struct fastpath *path = out->path;
    if (out->slots + count > SLOTS_OUT || out->messages + count > SLOTS_OUT)
        flush(out);
    struct iovec *iovecs = (struct iovec *)path->iovecs_out + out->slots;
    int longest = variant->gso ? path->longest_batch : 1, failed = 0;
    for (int i = 0; i < count; i++) {
        uint8_t *slot = path->slots_out + (size_t)(out->slots + i) * SLOT_SIZE;
        int size = written[i].size;
        memcpy(slot, path->rewritten + i * SLOT_SIZE, (size_t)size);
        if (variant->number_id)
            write16(slot + written[i].number_at, depart(variant->departures[receiver], size, out->now));
        failed += ((crypt)path->protect)((void *)variant->sessions[receiver], slot, &size) != 0;
        iovecs[i].iov_len = (size_t)size;
        if (written[i].size > LARGEST_SEGMENT)
            longest = 1;
    }
    path->sent += count;
    path->unprotected += failed;
    if (failed)
        return; /* This receiver gets nothing of the burst. */
    if (variant->tcp) {
        for (int i = 0; i < count; i++)
            put((struct send_queue *)variant->names[receiver], iovecs[i].iov_base, (int)iovecs[i].iov_len);
        return;
    }
    out->slots += count;
    for (int begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && end - begin < longest; end++)
            if (iovecs[end - 1].iov_len < iovecs[begin].iov_len || iovecs[end].iov_len > iovecs[begin].iov_len)
                break;
        lay(out, variant->names[receiver], iovecs + begin, end - begin);
    }
    if (out->messages >= FULL)
        flush(out);
}

/* Give the elements of a packet the receivers' IDs. Elements for which the receivers have no ID become padding, so that
 * nothing moves. */
static void translate(uint8_t *packet, const uint8_t *ids) {
    int at = HEADER_SIZE + 4, end = at + 4 * read16(packet + 14);
    while (at < end) {
        int id = packet[at] >> 4, size = 2 + (packet[at] & 0x0F);
        if (packet[at] == 0) {
            at++;
            continue;
        }
        if (ids[id] == 0 || ids[id] >= ELEMENT_IDS)
            memset(packet + at, 0, (size_t)size);
        else
            packet[at] = (uint8_t)(ids[id] << 4 | (packet[at] & 0x0F));
        at += size;
    }
}

/* Like pictures.shifted, for a packet without contributing sources. */
static void shift_pictures(uint8_t *packet, int size, const struct variant *variant) {
    int at = packet[0] & 0x10 ? HEADER_SIZE + 4 + 4 * read16(packet + HEADER_SIZE + 2) : HEADER_SIZE;
    if (at + 2 > size || !(packet[at] & 0x80))
        return;
    int flags = packet[at + 1];
    at += 2;
    if (flags & 0x80) {
        bool is_long = at < size && packet[at] & 0x80;
        if (at + 1 + is_long > size)
            return;
        if (is_long)
            write16(packet + at, (uint16_t)(0x8000 | ((read16(packet + at) + variant->picture_shift) & 0x7FFF)));
        else
            packet[at] = (uint8_t)((packet[at] + variant->picture_shift) & 0x7F);
        at += 1 + is_long;
    }
    if (flags & 0x40 && at < size)
        packet[at] = (uint8_t)(packet[at] + variant->base_shift);
}

/* Like rtp.with_number: make room for a transport-wide number, as the first element of the header extension. Return the
 * new size of the packet. The number's place is NUMBER_AT. */
static int make_room(uint8_t *packet, int size) {
    bool is_extended = packet[0] & 0x10;
    int begin = is_extended ? HEADER_SIZE + 4 : HEADER_SIZE, room = is_extended ? 4 : 8;
    memmove(packet + begin + room, packet + begin, (size_t)(size - begin));
    packet[0] |= 0x10;
    write16(packet + HEADER_SIZE, 0xBEDE);
    write16(packet + HEADER_SIZE + 2, (uint16_t)(is_extended ? read16(packet + HEADER_SIZE + 2) + 1 : 1));
    memset(packet + HEADER_SIZE + 4, 0, 4);
    return size + room;
}

/* Like rtp.primary, for a packet without contributing sources. Return the new size of the packet. */
static int keep_primary(uint8_t *packet, int size, uint8_t inner) {
    int begin = packet[0] & 0x10 ? HEADER_SIZE + 4 + 4 * read16(packet + HEADER_SIZE + 2) : HEADER_SIZE;
    int at = begin, skipped = 0;
    for (; at + 4 <= size && packet[at] & 0x80; at += 4)
        skipped += read16(packet + at + 2) & 0x3FF;
    if (at < size && packet[at] == inner && at + 1 + skipped < size) {
        int left = size - (at + 1 + skipped);
        memmove(packet + begin, packet + size - left, (size_t)left);
        return begin + left;
    }
    packet[0] &= 0xDF;
    return begin;
}

/* Write a packet as the receivers of a variant get it, before encryption. */
static struct written rewrite(uint8_t *to, const struct arrival *from, const struct variant *variant) {
    struct written written = {from->size, from->number_at};
    memcpy(to, from->packet, (size_t)from->size);
    to[1] = (uint8_t)((to[1] & 0x80) | variant->payload_type);
    write16(to + 2, (uint16_t)(from->sequence + variant->distance));
    write32(to + 4, from->timestamp + variant->timestamp_shift);
    write32(to + 8, from->track->ssrc);
    if (variant->picture_shift || variant->base_shift)
        shift_pictures(to, from->size, variant);
    if (variant->inner)
        written.size = keep_primary(to, from->size, variant->inner);
    if (from->elements & variant->foreign)
        translate(to, variant->ids);
    if (variant->number_id && !written.number_at) {
        written.size = make_room(to, written.size);
        written.number_at = NUMBER_AT;
    }
    if (variant->number_id)
        to[written.number_at - 1] = (uint8_t)(variant->number_id << 4 | 1);
    return written;
}

/* Send all packets that have the route of the first one, and set their `route` to NULL. */
static void forward(struct outbound *out, struct arrival *arrivals, int count) {
    const struct route *route = arrivals[0].route;
    const struct arrival *burst[SLOTS_IN];
    struct written written[SLOTS_IN];
    int length = 0;
    for (int i = 0; i < count; i++)
        if (arrivals[i].route == route)
            burst[length++] = &arrivals[i];
    for (int v = 0; v < route->variants; v++) {
        const struct variant *variant = &route->variant[v];
        for (int i = 0; i < length; i++)
            written[i] = rewrite(out->path->rewritten + i * SLOT_SIZE, burst[i], variant);
        for (int receiver = 0; receiver < variant->receivers; receiver++)
            send_to(out, variant, receiver, written, length);
    }
    for (int i = 0; i < count; i++)
        if (arrivals[i].route == route)
            arrivals[i].route = NULL;
}

int fastpath_turn(struct fastpath *path, double now) {
    struct mmsghdr *headers = (struct mmsghdr *)path->headers_in;
    for (int i = 0; i < SLOTS_IN; i++)
        headers[i].msg_hdr.msg_controllen = CMSG_SPACE(sizeof(struct timespec));
    int count = recvmmsg(path->fd, headers, SLOTS_IN, MSG_DONTWAIT, NULL), arrived = 0;
    struct arrival arrivals[SLOTS_IN];
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    for (int i = 0; i < count; i++) {
        arrivals[arrived].track = NULL;
        path->arrived[i] = arrival_of(&headers[i].msg_hdr, now, &real);
        path->verdicts[i] =
            receive(path, headers + i, path->slots_in + i * SLOT_SIZE, now, path->arrived[i], &arrivals[arrived]);
        if (arrivals[arrived].track != NULL)
            arrived++;
    }
    struct outbound out = {.path = path, .headers = (struct mmsghdr *)path->headers_out, .now = now};
    for (int i = 0; i < arrived; i++)
        if (arrivals[i].route != NULL)
            forward(&out, arrivals + i, arrived - i);
    flush(&out);
    return count > 0 ? count : 0;
}

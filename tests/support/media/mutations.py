"""Offers of real stacks with a changed line, attribute or section. The same seed gives the same offers."""

import random
import re
from collections.abc import Callable, Iterator

from tests.support.samples import CASES, SAMPLES

# One sample, `chromium-hold`, is an answer. It is used as an offer, too.
OFFERS = SAMPLES | CASES

Sections = list[list[str]]  # the session-level lines, and the lines of each m= section

_VALUES = ["", "x", "0", "1", "9", "111", "127", "128", "65536", "-1", "4294967295", "a=b", "true", "*", "é", "x y z"]
_LINES = [
    "a=x-unknown:1 2 3", "a=sendonly", "a=inactive", "a=bundle-only", "a=rtcp-mux-only", "a=ice-lite", "a=mid:9",
    "a=rtcp-fb:* nack", "a=fmtp:111 stereo=true", "a=fmtp:18 annexb=no", "a=rtpmap:8 PCMA/8000", "a=setup:active",
    "a=setup:passive", "a=extmap:5/sendonly urn:x a=1", "a=extmap:6 urn:ietf:params:rtp-hdrext:encrypt urn:y",
    "a=ptime:20", "b=AS:100", "b=TIAS:0", "c=IN IP6 ::", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x", "i=x",
    "a=rid:1 send", "a=simulcast:send 1", "a=ssrc:5 cname:x", "a=ssrc-group:SIM 5 6", "a=msid:x y", "a=sctp-port:0",
    "a=end-of-candidates", "a=candidate:1 1 tcp 1 x.local 9 typ host tcptype active",
    "a=group:LS 0 1", "a=rtcp:x", "a=imageattr:* send *",
]  # fmt: skip
_SECTIONS = [
    "m=text 9 UDP/TLS/RTP/SAVPF 98\na=mid:t\na=rtcp-mux\na=rtpmap:98 t140/1000",
    "m=image 0 udptl t38",
    "m=image 9 udptl t38\na=mid:i",
    "m=video 0 UDP/TLS/RTP/SAVPF 96",
    "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    "m=x-other 0 FOO/BAR 1",
]
_PROTOCOLS = ["RTP/AVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "UDP/DTLS/SCTP", "FOO/BAR"]
_GROUPS = ["", "BUNDLE", "BUNDLE {0}", "BUNDLE {0} absent", "BUNDLE {1}", "BUNDLE {1} {0}", "BUNDLE {0} {0}"]


def mutations(count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield this many mutants, each with a name that says what was changed."""
    chance = random.Random(seed)
    for number in range(count):
        name = chance.choice(sorted(OFFERS))
        mutate = chance.choice(_MUTATIONS)
        sections = [part.split("\r\n")[:-1] for part in re.split(r"(?m)^(?=m=)", OFFERS[name])]
        mutate(chance, sections)
        yield f"{number} {name} {mutate.__name__}", "".join(f"{line}\r\n" for lines in sections for line in lines)


def _place(chance: random.Random, sections: Sections) -> tuple[list[str], int]:
    """Choose the session-level lines or a media section, all equally often. Return these lines and the index of one."""
    lines = chance.choice([each for each in sections if each])
    return lines, chance.randrange(len(lines))


def delete_line(chance: random.Random, sections: Sections) -> None:
    lines, index = _place(chance, sections)
    del lines[index]


def repeat_line(chance: random.Random, sections: Sections) -> None:
    lines, index = _place(chance, sections)
    lines.insert(index, lines[index])


def swap_lines(chance: random.Random, sections: Sections) -> None:
    lines, index = _place(chance, sections)
    other = chance.randrange(len(lines))
    lines[index], lines[other] = lines[other], lines[index]


def move_line(chance: random.Random, sections: Sections) -> None:
    lines, index = _place(chance, sections)
    line = lines.pop(index)
    others, other = _place(chance, sections)
    others.insert(other + 1, line)


def add_line(chance: random.Random, sections: Sections) -> None:
    lines, _ = _place(chance, sections)
    lines.insert(len(lines), chance.choice(_LINES))


def change_word(chance: random.Random, sections: Sections) -> None:
    lines, index = _place(chance, sections)
    words = re.split(r"([ :/;=])", lines[index])
    place = 2 * chance.randrange((len(words) + 1) // 2)
    words[place] = chance.choice(_VALUES)
    lines[index] = "".join(words)


def delete_value(chance: random.Random, sections: Sections) -> None:
    lines, index = _place(chance, sections)
    lines[index] = re.split("[: ]", lines[index])[0]


def extend_value(chance: random.Random, sections: Sections) -> None:
    lines, index = _place(chance, sections)
    lines[index] += chance.choice([" ", " x", ";x=y", "/x", " " + chance.choice(_VALUES)])


def delete_attribute(chance: random.Random, sections: Sections) -> None:
    """Delete an attribute everywhere."""
    lines, index = _place(chance, sections[1:])
    name = lines[index].partition(":")[0]
    for each in sections:
        each[:] = [line for line in each if line.startswith("m=") or line.partition(":")[0] != name]


def delete_section(chance: random.Random, sections: Sections) -> None:
    del sections[chance.randrange(1, len(sections))]


def repeat_section(chance: random.Random, sections: Sections) -> None:
    copy = chance.choice(sections[1:])
    sections.append(
        [re.sub("^a=mid:.*", "a=mid:copy", line) for line in copy if "ssrc" not in line and "msid" not in line]
    )


def swap_sections(chance: random.Random, sections: Sections) -> None:
    sections[1:] = chance.sample(sections[1:], len(sections) - 1)


def add_section(chance: random.Random, sections: Sections) -> None:
    sections.insert(chance.randrange(1, len(sections) + 1), chance.choice(_SECTIONS).split("\n"))


def reject_section(chance: random.Random, sections: Sections) -> None:
    """Set the port of a section to 0, and keep or delete the section's other lines."""
    lines = chance.choice(sections[1:])
    lines[0] = re.sub(r" \d+ ", " 0 ", lines[0], count=1)
    if chance.random() < 0.5:
        del lines[1:]


def change_protocol(chance: random.Random, sections: Sections) -> None:
    lines = chance.choice(sections[1:])
    kind, port, _, formats = lines[0].split(" ", 3)
    lines[0] = f"{kind} {port} {chance.choice(_PROTOCOLS)} {formats}"


def change_kind(chance: random.Random, sections: Sections) -> None:
    lines = chance.choice(sections[1:])
    lines[0] = re.sub("^m=[a-z]+", f"m={chance.choice(['text', 'image', 'message', 'audio', 'video'])}", lines[0])


def change_group(chance: random.Random, sections: Sections) -> None:
    mids = [line[6:] for lines in sections for line in lines if line.startswith("a=mid:")] + ["0", "1"]
    sections[0][:] = [line for line in sections[0] if not line.startswith("a=group:BUNDLE")]
    for group in chance.sample(_GROUPS, chance.choice([1, 1, 2])):
        if group:
            sections[0].append(f"a=group:{group.format(*mids)}")


def rename_codec(chance: random.Random, sections: Sections) -> None:
    """Replace the codecs of a section by unknown ones."""
    lines = chance.choice(sections[1:])
    lines[:] = [re.sub(r"^(a=rtpmap:\d+ )", r"\1un", line) for line in lines]


def prefer_codecs(chance: random.Random, sections: Sections) -> None:
    """Keep only some codecs in a section's list, as Firefox does after `setCodecPreferences`.

    The names of the other codecs are removed. Their parameters and feedback stay.
    """
    lines = chance.choice(sections[1:])
    kind, port, protocol, *formats = lines[0].split(" ")
    kept = chance.sample(formats, chance.randint(1, len(formats)))
    lines[0] = " ".join([kind, port, protocol, *kept])
    lines[:] = [line for line in lines if not line.startswith("a=rtpmap:") or line[9:].split(" ")[0] in kept]


_MUTATIONS: list[Callable[[random.Random, Sections], None]] = [
    delete_line, repeat_line, swap_lines, move_line, add_line, change_word, change_word, delete_value, extend_value,
    delete_attribute, delete_section, repeat_section, swap_sections, add_section, reject_section, change_protocol,
    change_kind, change_group, rename_codec, prefer_codecs,
]  # fmt: skip

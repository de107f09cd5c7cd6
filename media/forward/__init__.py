"""RTP and RTCP from one connection to others, in Python and in C."""

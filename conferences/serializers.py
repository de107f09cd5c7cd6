"""Validate request bodies. Unknown members are ignored and not stored. A wrong type is refused, never converted."""

from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from conferences.models import LONGEST_COMMENT, MOST_STARS, Access, Role, Topology
from conferences.names import LONGEST_TYPED, has_hidden, is_plain, is_visible, normalize_comment, normalize_name
from media.reports import DeviceKind

# The most samples of quality in one request.
MOST_SAMPLES = 24
_NUMBER = RegexValidator(r"^\+[1-9][0-9]{1,14}\Z", "Write the number in E.164 format: '+' and up to 15 digits.")
_ADDRESS = RegexValidator(r"^(?!tel:)|^tel:\+[1-9][0-9]{1,14}\Z", "Write a number as 'tel:+' and up to 15 digits.")
_USERNAME = RegexValidator(r"^(?!tel:)", "A username must not begin with 'tel:'.")


class TextField(serializers.CharField):
    """A string. DRF's own field would also accept numbers."""

    def to_internal_value(self, data: Any) -> str:
        """Return the string."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class NameField(TextField):
    """A name that people read. It is normalised, and refused if it has characters that are not displayed."""

    def to_internal_value(self, data: Any) -> str:
        """Return the normalised name.

        :raises ValidationError: when it is too long, has hidden characters, or has no visible character.
        """
        text = super().to_internal_value(data)
        if len(text) > LONGEST_TYPED:
            self.fail("max_length", max_length=self.max_length)
        name = normalize_name(text)
        if has_hidden(name):
            raise serializers.ValidationError("Control, zero-width and bidirectional characters are not allowed.")
        if name and not is_visible(name):
            raise serializers.ValidationError("A name must have at least one visible character.")
        return name


class CommentField(TextField):
    """A text of several lines that people read. It is normalised, and refused if it has control characters."""

    def to_internal_value(self, data: Any) -> str:
        """Return the normalised comment.

        :raises ValidationError: when it is too long, or has characters that a comment must not contain.
        """
        text = super().to_internal_value(data)
        # Normalising takes time in proportion to the square of a run of combining marks.
        if len(text) > 4 * LONGEST_COMMENT or len(comment := normalize_comment(text)) > LONGEST_COMMENT:
            self.fail("max_length", max_length=LONGEST_COMMENT)
        if not is_plain(comment):
            raise serializers.ValidationError("Control and bidirectional characters are not allowed.")
        return comment


@extend_schema_field(OpenApiTypes.STR)
class SdpField(serializers.Field[str, Any, str, Any]):
    """An SDP as it was sent. `conferences.sdp` validates it later."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text."""
        if not isinstance(data, str):
            raise serializers.ValidationError("Not a valid string.")
        return data

    def to_representation(self, value: str) -> str:
        """Return the text."""
        return value


class SessionSerializer(serializers.Serializer[Any]):
    """`POST /sessions`."""

    username = NameField(max_length=128, validators=[_USERNAME])
    vtn = TextField(max_length=16, validators=[_NUMBER], allow_null=True, default=None)
    icmn = TextField(max_length=16, validators=[_NUMBER], allow_null=True, default=None)
    device = NameField(max_length=128, allow_null=True, allow_blank=True, default=None)


class DescriptionSerializer(serializers.Serializer[Any]):
    """A session description as `RTCPeerConnection.localDescription` serialises it, or a bare SDP (without `type`)."""

    type = serializers.ChoiceField(["offer", "answer"], required=False)
    sdp = SdpField(required=False, allow_null=True)


class ActionSerializer(DescriptionSerializer):
    """`PUT /mediaConferences/{confId}`."""

    modId = TextField(max_length=64, required=False)  # noqa: N815 - the name on the wire


class BoundedListField(serializers.ListField):
    """A list whose length is checked before its items. DRF's own field would check every item first."""

    def to_internal_value(self, data: Any) -> list[Any]:
        """Return the items."""
        if isinstance(data, list) and self.max_length is not None and len(data) > self.max_length:
            raise serializers.ValidationError(f"The list must have at most {self.max_length} items.")
        return super().to_internal_value(data)


class ConferenceSerializer(DescriptionSerializer):
    """`POST /mediaConferences`."""

    to = BoundedListField(child=NameField(max_length=128, validators=[_ADDRESS]), max_length=100, default=list)
    topology = serializers.ChoiceField(Topology.choices, default=Topology.FOCUS)
    access = serializers.ChoiceField(Access.choices, default=Access.INVITED)
    name = NameField(max_length=128, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require at least one address in `to`, unless the conference is open."""
        if not attrs["to"] and attrs["access"] != Access.OPEN:
            raise serializers.ValidationError({"to": "Only a conference with access 'open' may leave this empty."})
        return attrs


class InvitationSerializer(serializers.Serializer[Any]):
    """`POST /mediaConferences/{confId}/participants`."""

    to = NameField(max_length=128, validators=[_ADDRESS])


@extend_schema_field(OpenApiTypes.BOOL)
class StrictBooleanField(serializers.Field[bool, Any, bool, Any]):
    """A JSON boolean. DRF's own field would also accept strings and numbers."""

    def to_internal_value(self, data: Any) -> bool:
        """Return the boolean."""
        if not isinstance(data, bool):
            raise serializers.ValidationError("Not a valid boolean.")
        return data

    def to_representation(self, value: bool) -> bool:
        """Return the boolean."""
        return value


class HandSerializer(serializers.Serializer[Any]):
    """`PUT /mediaConferences/{confId}/participants/{id}/hand`."""

    raised = StrictBooleanField()


class MuteSerializer(serializers.Serializer[Any]):
    """`PUT /mediaConferences/{confId}/participants/{id}/mute`."""

    audio = StrictBooleanField(default=None)
    video = StrictBooleanField(default=None)


class RoleSerializer(serializers.Serializer[Any]):
    """`PUT /mediaConferences/{confId}/participants/{id}/role`."""

    role = serializers.ChoiceField(Role.choices)

    def validate_role(self, value: str) -> str:
        """Accept only the host: a conference always has one, so no participant can become a guest by itself."""
        if value != Role.HOST:
            raise serializers.ValidationError("A participant can only be made the host.")
        return value


class StarsField(serializers.IntegerField):
    """A number of stars. DRF's own field would also accept strings and fractions such as 4.0."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number."""
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class RatingSerializer(serializers.Serializer[Any]):
    """`PUT /mediaConferences/{confId}/participants/{id}/rating`."""

    stars = StarsField(min_value=1, max_value=MOST_STARS)
    comment = CommentField(allow_blank=True, default="")


class LockSerializer(serializers.Serializer[Any]):
    """`PUT /mediaConferences/{confId}/lock`."""

    locked = StrictBooleanField()


class AdmissionSerializer(serializers.Serializer[Any]):
    """`PUT /mediaConferences/{confId}/knocks/{id}`."""

    admit = StrictBooleanField()


@extend_schema_field(OpenApiTypes.NUMBER)
class AmountField(serializers.Field[float, Any, float, Any]):
    """A JSON number from 0 to `most`. DRF's own fields would also accept strings and booleans."""

    def __init__(self, most: float, *, least: float = 0, **options: Any) -> None:
        super().__init__(**options)
        self.least, self.most = least, most

    def to_internal_value(self, data: Any) -> float:
        """Return the number. The comparison also refuses infinity, and whole numbers of any length."""
        if type(data) not in {int, float} or not self.least <= data <= self.most:
            raise serializers.ValidationError(f"Not a number from {self.least} to {self.most}.")
        return float(data)

    def to_representation(self, value: float) -> float:
        """Return the number."""
        return value


class MeasuredSerializer(serializers.Serializer[Any]):
    """What a client has measured in one direction."""

    bitrate = AmountField(1e9)
    loss = AmountField(1, required=False)
    jitterMs = AmountField(30_000, required=False)  # noqa: N815
    roundTripMs = AmountField(30_000, required=False)  # noqa: N815
    retransmissions = AmountField(1e6, required=False)
    videos = AmountField(1_000, required=False)
    framesPerSecond = AmountField(1_000, required=False)  # noqa: N815
    width = AmountField(16_384, required=False)
    height = AmountField(16_384, required=False)
    freezes = AmountField(10_000, required=False)
    frozenMs = AmountField(30_000, required=False)  # noqa: N815
    concealed = AmountField(1, required=False)


class ClientSampleSerializer(serializers.Serializer[Any]):
    """One sample of a client."""

    ageMs = AmountField(600_000)  # noqa: N815
    periodMs = AmountField(600_000, least=500)  # noqa: N815
    up = MeasuredSerializer(required=False)
    down = MeasuredSerializer(required=False)


class ClientSamplesSerializer(serializers.Serializer[Any]):
    """`POST /mediaConferences/{confId}/quality`."""

    device = serializers.ChoiceField([each.value for each in DeviceKind], required=False)
    samples = BoundedListField(child=ClientSampleSerializer(), min_length=1, max_length=MOST_SAMPLES)

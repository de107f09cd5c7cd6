"""A participant without a browser, on aiortc. Install it with `pip install "sbe-client[bot]"`."""

from sbe_client.bot.audio import RATES, Frame, file, tone
from sbe_client.bot.bot import Bot, Invitation
from sbe_client.bot.call import BotCall, Change, State

__all__ = ["RATES", "Bot", "BotCall", "Change", "Frame", "Invitation", "State", "file", "tone"]

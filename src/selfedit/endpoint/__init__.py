"""A client for chat endpoints that speak OpenAI's protocol: concurrent, retried, every reply kept
on disk.

``with EndpointClient(settings) as client: for index, reply in client.stream([ask("Is it?"), ...]):
...``
"""

from selfedit.endpoint.chat import Bill, ChatReply, ChatRequest, ask
from selfedit.endpoint.client import EndpointClient

__all__ = ["Bill", "ChatReply", "ChatRequest", "EndpointClient", "ask"]

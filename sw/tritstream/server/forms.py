"""How the texts of a response look in JSON."""

from tritstream.server.text import Text

__all__ = ["ChatForm", "CompletionForm", "Form"]


class CompletionForm:
    """Choices of ``/v1/completions``."""

    prefix = "cmpl"
    whole = part = "text_completion"

    @staticmethod
    def first(text: Text) -> dict | None:
        """What a stream begins with; None: nothing."""
        return None

    @staticmethod
    def choice(text: Text, content: str, reason: str | None, logprobs: dict | None) -> dict:
        """A text, and why it ended."""
        return {"index": text.number, "text": content, "finish_reason": reason,
                "logprobs": logprobs}

    piece = choice
    """A piece of it."""

    @staticmethod
    def log_probabilities(text: Text, count: int, start: int) -> dict:
        """Those of the tokens read from `start` on, and of the `count` best beside each."""
        table = {"tokens": [], "token_logprobs": [], "top_logprobs": []}
        for token, candidates in text.chosen(start):
            all_of = dict(zip(candidates.tokens, candidates.log_probabilities, strict=True))
            table["tokens"].append(text.name(token))
            table["token_logprobs"].append(all_of[token])
            table["top_logprobs"].append({text.name(other): all_of[other]
                                          for other in candidates.tokens[:count]})
        return table


class ChatForm:
    """Choices of ``/v1/chat/completions``."""

    prefix = "chatcmpl"
    whole, part = "chat.completion", "chat.completion.chunk"

    @staticmethod
    def first(text: Text) -> dict | None:
        """What a stream begins with."""
        return _chat_choice(text, "delta", {"role": "assistant", "content": ""}, None, None)

    @staticmethod
    def choice(text: Text, content: str, reason: str | None, logprobs: dict | None) -> dict:
        """An answer, and why it ended."""
        message = {"role": "assistant", "content": content, "refusal": None}
        return _chat_choice(text, "message", message, reason, logprobs)

    @staticmethod
    def piece(text: Text, content: str, reason: str | None, logprobs: dict | None) -> dict:
        """A piece of it."""
        delta = {"content": content} if content else {}
        return _chat_choice(text, "delta", delta, reason, logprobs)

    @staticmethod
    def log_probabilities(text: Text, count: int, start: int) -> dict:
        """Those of the tokens read from `start` on, and of the `count` best beside each."""
        content = []
        for token, candidates in text.chosen(start):
            pairs = list(zip(candidates.tokens, candidates.log_probabilities, strict=True))
            best = [_named(text, *pair) for pair in pairs[:count]]
            content.append(_named(text, token, dict(pairs)[token]) | {"top_logprobs": best})
        return {"content": content, "refusal": None}


Form = type[CompletionForm] | type[ChatForm]


def _chat_choice(text: Text, kind: str, message: dict, reason: str | None,
                 logprobs: dict | None) -> dict:
    return {"index": text.number, kind: message, "finish_reason": reason, "logprobs": logprobs}


def _named(text: Text, token: int, log_probability: float) -> dict:
    name = text.name(token)
    return {"token": name, "logprob": log_probability, "bytes": list(name.encode())}

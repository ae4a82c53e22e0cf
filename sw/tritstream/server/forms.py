"""How the texts of a response look in JSON."""

from tritstream.server.text import Text

__all__ = ["CompletionForm"]


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
        """Those of the tokens from `start` on, and of the `count` best beside each."""
        table = {"tokens": [], "token_logprobs": [], "top_logprobs": []}
        for token, candidates in text.chosen(start):
            all_of = dict(zip(candidates.tokens, candidates.log_probabilities, strict=True))
            table["tokens"].append(text.name(token))
            table["token_logprobs"].append(all_of[token])
            table["top_logprobs"].append({text.name(other): all_of[other]
                                          for other in candidates.tokens[:count]})
        return table

    @staticmethod
    def count(logprobs: dict) -> int:
        """Of how many tokens the log probabilities are."""
        return len(logprobs["tokens"])

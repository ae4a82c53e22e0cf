"""A model on a Verilated accelerator and on golden, compared at every stage of every pass."""

from collections.abc import Sequence

from tritstream.golden import GoldenModel, chain
from tritstream.image.image import Image
from tritstream.link.messages import StageRecord
from tritstream.link.protocol import Status
from tritstream_sim.verilate.passes import Passes, pass_bytes

__all__ = ["Lockstep"]


class Lockstep:
    """Conversations with a model, held to golden.

    Parameters
    ----------
    passes : Passes
        An accelerator that holds the model; new conversations begin on it.
    image : Image
        The model.
    conversations : int
        How many; each has the slot of its number.
    """

    def __init__(self, passes: Passes, image: Image, conversations: int = 1):
        self.passes, self.image = passes, image
        self._golden = GoldenModel(image)
        self._states = [self._golden.new_state() for _ in range(conversations)]
        self._fresh = set(range(conversations))

    def step(self, token: int, *, head: bool = True,
             gaps: dict[int, int] | None = None) -> list[StageRecord]:
        """Play a token of the first conversation alone, see `together`."""
        return self.together([(0, token)], head=head, gaps=gaps)

    def together(self, tokens: Sequence[tuple[int, int]], *, head: bool = True,
                 gaps: dict[int, int] | None = None) -> list[StageRecord]:
        """Play tokens in one pass, with or without the head, and return the records of its stages.

        Parameters
        ----------
        tokens : sequence of (int, int)
            For each lane the conversation and its token; those of one are neighbours.
        head : bool
            Whether the pass has the last stage.
        gaps : dict
            As those of `Passes.play`.

        Raises
        ------
        AssertionError
            A digest is not golden's, of the first lane at any stage or of another at the end, or
            the pass does not end as it should.
        TimeoutError
            The accelerator neither takes a beat nor ends.
        """
        stages = self.image.stages if head else self.image.body_stages
        lanes, expected, before = [], [], None
        for (conversation, token), digest in zip(tokens, self.passes.digests, strict=False):
            fresh, follows = conversation in self._fresh, conversation == before
            lanes.append({"slot": conversation, "fresh": fresh})
            if follows:
                lanes[-1]["follows"] = 1
            expected.append(self._digests(conversation, token, stages, 0 if fresh else digest))
            self._fresh.discard(conversation)
            before = conversation
        data = pass_bytes(self.image, [token for _, token in tokens], stages, self.passes.stripes)
        done = self.passes.play(data, stages=stages, lanes=lanes, gaps=gaps)
        assert (done.status, done.head) == (Status.OK, head), done
        for section, record, digest in zip(self.image.sections, done.records, expected[0],
                                           strict=False):
            assert record.digest == digest, f"{section.name}: {record.digest:#x}, not {digest:#x}"
        for lane, (digest, digests) in enumerate(zip(done.digests, expected, strict=False)):
            assert digest == digests[-1], f"lane {lane}: {digest:#x}, not {digests[-1]:#x}"
        assert len(done.records) == stages
        assert done.beats * self.passes.stripes.stripe_bytes == len(data)
        return done.records

    def _digests(self, conversation: int, token: int, stages: int, digest: int) -> list[int]:
        """Compute a token, and return what its lane's digest is behind each stage."""
        vectors = []
        self._golden.forward([[token]], self._states[conversation], stages=stages,
                             observe=lambda _, vector: vectors.append(vector[0, 0]))
        digests = []
        for vector in vectors:
            digest = chain(vector, digest)
            digests.append(digest)
        return digests

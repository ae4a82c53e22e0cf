"""A model on a Verilated accelerator and on golden, compared at every stage of every token."""

from tritstream.golden import GoldenModel, chain
from tritstream.image.image import Image
from tritstream.link.messages import StageRecord
from tritstream.link.protocol import Status
from tritstream_sim.verilate.passes import Passes, pass_bytes

__all__ = ["Lockstep"]


class Lockstep:
    """A conversation with a model, held to golden.

    Parameters
    ----------
    passes : Passes
        An accelerator that holds the model; a new conversation begins on it.
    image : Image
        The model.
    """

    def __init__(self, passes: Passes, image: Image):
        self.passes, self.image = passes, image
        self._golden = GoldenModel(image)
        self._state = self._golden.new_state()
        self._digest = 0
        self._fresh = True

    def step(self, token: int, *, head: bool = True,
             gaps: dict[int, int] | None = None) -> list[StageRecord]:
        """Play a token, with or without the head, and return the records of its stages.

        Parameters
        ----------
        token : int
            Of the model's vocabulary.
        head : bool
            Whether the pass has the last stage.
        gaps : dict
            As those of `Passes.play`.

        Raises
        ------
        AssertionError
            A stage's digest is not golden's, or the pass does not end as it should.
        TimeoutError
            The accelerator neither takes a beat nor ends.
        """
        stages = self.image.stages if head else self.image.body_stages
        expected = []

        def observe(_, vector):
            self._digest = chain(vector[0, 0], self._digest)
            expected.append(self._digest)

        self._golden.forward([[token]], self._state, stages=stages, observe=observe)
        data = pass_bytes(self.image, [token], stages)
        done = self.passes.play(data, stages=stages, lanes=[{"fresh": self._fresh}],
                                gaps=gaps)
        self._fresh = False
        assert (done.status, done.head) == (Status.OK, head), done
        for section, record, digest in zip(self.image.sections, done.records, expected,
                                           strict=False):
            assert record.digest == digest, f"{section.name}: {record.digest:#x}, not {digest:#x}"
        assert len(done.records) == len(expected) == stages
        assert done.beats * self.passes.beat_bytes == len(data)
        return done.records

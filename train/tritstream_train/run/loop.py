"""Training from start or checkpoint to the exported model."""

import contextlib
import dataclasses
import math
import resource
import signal
import time
from pathlib import Path

import numpy as np
import tokenizers
import torch

from tritstream.errors import BadInput, DeviceError
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig
from tritstream.model.tokenizer import Tokenizer
from tritstream_train.architectures import build
from tritstream_train.config import TrainConfig
from tritstream_train.data.tokens import digest_of, open_tokens, read_texts
from tritstream_train.data.validation import Validation
from tritstream_train.data.vocabulary import learn_tokenizer
from tritstream_train.data.windows import Windows
from tritstream_train.model.export import export
from tritstream_train.model.load import digest_of_weights
from tritstream_train.optim.adamw import make_optimizers, set_rates
from tritstream_train.optim.freeze import freezing
from tritstream_train.optim.settle import settled
from tritstream_train.pace import Pace, steps_within
from tritstream_train.run.curve import Curve, Record, draw
from tritstream_train.run.directory import Run
from tritstream_train.run.distributed import Processes, clip_gradients, unwrap, wrap
from tritstream_train.run.report import Report, Silent
from tritstream_train.run.signals import Stopped, Stopping
from tritstream_train.run.state import State, collect, latest, read_state, restore, write_state
from tritstream_train.run.step import Gradients
from tritstream_train.schedule import rate_factor

__all__ = ["LostLoss", "Summary", "train"]

RESERVE = 0.97              # share of the minutes that steps get; checkpoints have the rest


class LostLoss(BadInput):
    """The loss is not a number any more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended.

    Parameters
    ----------
    steps, tokens : int
        Done.
    parameters : int
        Of the model.
    seconds : float
        Spent in training, all resumptions together.
    loss : float
        Mean over the last steps, nats per token.
    valid : float or None
        Bits per byte of the validation text.
    speed : float
        Tokens per second, over everything.
    memory : int
        Most bytes that were allocated.
    model : str or None
        Directory of the exported model; a transformer has none.
    """

    steps: int
    tokens: int
    parameters: int
    seconds: float
    loss: float
    valid: float | None
    speed: float
    memory: int
    model: str | None


def train(config: TrainConfig, directory: str | Path, *, resume: bool = False,
          report: Report | None = None) -> Summary:
    """Train a model, or go on with that.

    Parameters
    ----------
    config : TrainConfig
        The run.
    directory : Path
        Where everything goes; see `tritstream_train.run.directory`.
    resume : bool
        Go on from the last checkpoint there. The losses are those of a run that was never
        interrupted.
    report : Report, optional
        Who is told of the progress.

    Raises
    ------
    BadInput
        Settings or files cannot be used.
    LostLoss
        The loss is not a number any more.
    DeviceError
        There is no GPU, its memory is too small, or another process was lost.
    Stopped
        SIGINT or SIGTERM came. Several processes heed them together, at the next line of the curve.
    """
    with Processes.join(config.device) as processes, contextlib.ExitStack() as claim:
        report = report if report and processes.first else Silent()
        try:
            return _Trainer(config, Path(directory), processes, resume, report, claim).run()
        except torch.OutOfMemoryError as error:
            raise _too_small(config, processes) from error
        except RuntimeError as error:
            if processes.count == 1 or not _is_loss(error):
                raise
            raise processes.lost() from error


class _Trainer:
    def __init__(self, config: TrainConfig, directory: Path, processes: Processes, resume: bool,
                 report: Report, claim: contextlib.ExitStack):
        self._processes = processes
        self._report = report
        processes.share(config.batch)
        run = Run.open(directory) if resume else None
        if run and processes.first:
            claim.enter_context(run.claimed())
        # One under way needs neither the weights that it started from nor a given tokenizer.
        begins = run is None or not run.under_way
        config, shape = _with_start(config) if begins else _under_way(config, run)
        digests = _digests(config, begins)
        if run:
            run.agree(config, digests)
        self._run = run or Run.begin(directory, config, digests)
        self._config = config
        self._tokenizer_json = tokenizer = processes.first_s(self._tokenizer)
        if shape is None or shape.bos is None:
            shape = _with_marks(shape or config.model, tokenizer)
        self._run.shape = self._shape = shape
        self._windows = Windows(self._tokens(tokenizer, shape.bos), batch=config.batch,
                                sequence=config.sequence, span=config.span, seed=config.seed)
        self._validation = None
        if config.valid is not None:
            name = str(self._run.tokenizer)
            opened = Tokenizer(tokenizer, vocab=shape.vocab, bos=shape.bos, name=name)
            self._validation = Validation(read_texts(config.valid), opened, config.sequence)

        model = build(config if begins else dataclasses.replace(config, start=None), shape
                      ).to(processes.device)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self._model = wrap(model, processes, config.parallel)
        self._optimizers = make_optimizers(self._model, config)
        self._curve = Curve(self._run.curve)
        self.step, self._before = 0, 0.0
        self._told = False              # that the minutes are over before the warm-up is
        self._unlogged = 0.0, 0, 0.0
        carried = self._resume() if resume else None
        # After the optimisers are restored: that gives the weights other gradients.
        self._gradients = Gradients(self._model, processes, config)
        if carried is not None:
            start, stop = processes.share(config.batch)
            self._gradients.carried.copy_(carried[start:stop])
        if processes.first:             # not before: what cannot run leaves nothing behind
            self._run.create(tokenizer, resume)
            if not resume:
                claim.enter_context(self._run.claimed())

    # Preparation

    def _tokenizer(self) -> bytes:
        """Contents of the run's `tokenizer.json`: as it was, given, or learned."""
        config = self._config
        own = self._run.tokenizer
        if own.exists() or config.tokenizer is not None:
            return _checked_tokenizer(own if own.exists() else Path(config.tokenizer), config.vocab)
        self._report.say(f"learning a tokenizer of {config.vocab} tokens")
        return learn_tokenizer(read_texts(config.data), config.vocab)

    def _tokens(self, tokenizer: bytes, begin: int):
        """Tokens of the data; the first process makes them if need be."""
        if self._processes.first:
            self._report.say(f"reading {self._config.data}")
            tokens = open_tokens(self._config.data, tokenizer, begin)
            self._report.say(f"{len(tokens)} tokens")
        self._processes.wait()
        return open_tokens(self._config.data, tokenizer, begin)

    def _resume(self) -> torch.Tensor | None:
        """Go to the last checkpoint, and return the recurrent state of all rows."""
        path = latest(self._run.checkpoints)
        if path is None:
            self._report.say("no checkpoint yet: the run starts from the beginning")
            if self._processes.first:
                self._curve.cut(0)
            return None
        state = read_state(path)
        self._run.check_own(state, path)
        restore(state, self._model, self._optimizers)
        self.step, self._before, self._unlogged = state.step, state.seconds, state.unlogged
        if self._processes.first:
            self._curve.cut(self.step)
        self._report.say(f"resuming from step {self.step}")
        return state.carried

    # The loop

    def run(self) -> Summary:
        began = time.perf_counter()
        with Stopping() as stopping:
            record = self._train(began, stopping)
        return self._finish(record, self._before + time.perf_counter() - began)

    def _train(self, began: float, stopping: Stopping) -> Record | None:
        """Do all steps that are left; return the last line of the curve, if there was one."""
        config, device = self._config, self._processes.device
        loss, count, seconds = self._unlogged
        sum_, since = torch.tensor(loss, device=device), began - seconds
        record, pace = None, Pace(config.warmup, config.freeze > 0, self._before, device)
        while self._run.steps is None or self.step < self._run.steps:
            factor = self._factor()
            set_rates(self._optimizers, factor,
                      freezing(self.step, self._run.steps, config.warmup, config.freeze))
            sum_ = sum_ + self._loss()
            gradient = self._update()
            count += 1
            self.step += 1
            if self._run.steps is None:
                self._plan(pace, began)
            last = self.step == self._run.steps
            if last or self.step % config.log_every == 0 or self._validates():
                loss = self._checked(sum_ / count)
                now = time.perf_counter()
                record = self._record(loss, factor, gradient, count, now - since, now - began)
                sum_, count, since = torch.zeros_like(sum_), 0, time.perf_counter()
                pace.pause(since - now)
            stop = self._stops(stopping)
            if last or stop or self.step % config.save_every == 0:
                if count:
                    self._checked(sum_ / count)
                self._checked(gradient, "norm of the gradient")
                now = time.perf_counter()
                self._save(self._before + now - began,
                           (self._processes.mean(sum_), count, now - since))
                pause = time.perf_counter() - now
                since += pause
                pace.pause(pause)
            if stop:
                break
        # If it came while the last checkpoint was written, that is there, too.
        if self._processes.any(stopping.asked is not None):
            raise Stopped(stopping.asked or signal.SIGTERM, self.step, self._run.directory)
        return record

    def _stops(self, stopping: Stopping) -> bool:
        """Whether a signal ends the run after this step.

        Several processes stop at the same one, where they meet for a line of the curve anyway.
        """
        if self._processes.count > 1 and self.step % self._config.log_every:
            return False
        return self._processes.any(stopping.asked is not None)

    def _factor(self) -> float:
        config = self._config
        return rate_factor(self.step, self._run.steps, warmup=config.warmup,
                           schedule=config.schedule, decay=config.decay, final=config.final)

    def _loss(self) -> torch.Tensor:
        """Gradients of one step, and its loss over this process's rows."""
        if self._config.dropout:
            # A function of seed, step and process, like the windows: nothing to remember.
            torch.manual_seed(_mixed(self._config.seed, self.step, self._processes.rank))
        windows, fresh = self._windows.rows(self.step, *self._processes.share(self._config.batch))
        return self._gradients(torch.from_numpy(windows), torch.from_numpy(fresh))

    def _update(self) -> torch.Tensor:
        """Update the weights; return the norm of the gradient before it was clipped."""
        norm = clip_gradients(self._model, self._config.clip)
        for optimizer in self._optimizers:
            optimizer.step()
        self._gradients.clear()
        return norm

    def _plan(self, pace: Pace, began: float):
        """Fix the number of steps at the end of the warm-up, from the speed that it had."""
        config = self._config
        if self.step < config.warmup:
            pace.mark(self.step)
            over = self._before + time.perf_counter() - began > config.minutes * 60
            if over and not self._told:
                self._told = True
                self._report.say(f"{config.minutes:g} minutes are over at step {self.step} of a "
                                 f"warm-up of {config.warmup}, behind which nothing will be "
                                 "learned: a shorter --warmup or a smaller --batch makes sense of "
                                 "so few minutes")
            return
        paces = pace.measure(self.step)
        left = config.minutes * 60 * RESERVE - self._before - (time.perf_counter() - began)
        steps = float(steps_within(left, self.step, paces, config.freeze))
        self._run.steps = int(self._processes.mean(
            torch.tensor(steps, device=self._processes.device)))
        if self._processes.first:
            self._run.save()
        counting = f", {paces[1] * 1000:.1f} while trits are watched" if config.freeze else ""
        self._report.say(f"{self._run.steps} steps in {config.minutes:g} minutes, "
                         f"{paces[0] * 1000:.1f} ms each{counting}")

    def _checked(self, value: torch.Tensor, name: str = "loss") -> float:
        """Return a mean over all processes, which has to be a number for the run to go on."""
        value = self._processes.mean(value)
        if not math.isfinite(value):
            path = latest(self._run.checkpoints)
            kept = f"the last checkpoint is {path.name}" if path else "there is no checkpoint yet"
            raise LostLoss(f"The {name} is {value} at step {self.step}, and the run stops; {kept}: "
                           f"start another run with a rate below {self._config.rate:g}, a longer "
                           "warm-up or a smaller clip.")
        return value

    def _record(self, loss: float, factor: float, gradient, count: int, interval: float,
                elapsed: float) -> Record:
        config = self._config
        valid = None
        if self._validates():
            valid = self._validation.bits_per_byte(unwrap(self._model), self._processes.device)
        record = Record(
            step=self.step, tokens=self.step * config.tokens_per_step, loss=loss,
            rate=config.rate * factor, gradient=float(gradient), seconds=self._before + elapsed,
            speed=count * config.tokens_per_step / interval, memory=self._memory(), valid=valid)
        if self._processes.first:
            self._curve.add(record)
            self._report.show(record, self._run.steps)
        return record

    def _validates(self) -> bool:
        """Whether bits per byte are wanted after this step."""
        every = self._config.valid_every
        return self._validation is not None and (
            self.step == self._run.steps or every > 0 and self.step % every == 0)

    def _memory(self) -> int:
        if self._processes.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    # Results

    def _save(self, seconds: float, unlogged: tuple[float, int, float]):
        weights, optimizer = collect(self._model, self._optimizers)
        carried = self._gradients.carried
        if carried is not None:
            carried = self._processes.gather(carried).cpu()
        if self._processes.first:
            write_state(self._run.checkpoints, State(
                step=self.step, seconds=seconds, unlogged=unlogged,
                settings=self._config.to_json(), model=weights, optimizer=optimizer,
                carried=carried), self._config.keep)
            draw(self._curve.read(), self._run.picture, self._run.directory.name)
        self._processes.wait()

    def _finish(self, record: Record | None, seconds: float) -> Summary:
        records = self._curve.read()
        if not records:
            raise BadInput(f"{self._run.curve} has no line although the run is complete: bring the "
                           "file back, or start another run.")
        record = record or records[-1]      # a run that was complete already has trained nothing
        weights, _ = collect(self._model, self._optimizers)
        target = None
        if self._config.arch == "hgrn_bit":
            target = str(self._run.model)
            if self._processes.first:
                weights = settled(weights, self._processes.device, fused=unwrap(self._model).fused)
                export(weights, self._shape, self._tokenizer_json, self._run.model)
        self._processes.wait()
        return Summary(
            steps=self.step, tokens=record.tokens, parameters=self.parameters, seconds=seconds,
            loss=record.loss, valid=record.valid, speed=record.tokens / max(seconds, 1e-9),
            memory=self._memory(), model=target)


def _with_start(config: TrainConfig) -> tuple[TrainConfig, ModelConfig | None]:
    """Take shape and tokenizer from the checkpoint that the run starts from, if it has one."""
    if config.start is None:
        return config, None
    checkpoint = Checkpoint.open(config.start)
    shape = checkpoint.config
    tokenizer = config.tokenizer or str(checkpoint.tokenizer_path)
    return dataclasses.replace(config, hidden=shape.hidden, intermediate=shape.intermediate,
                               layers=shape.layers, vocab=shape.vocab, tokenizer=tokenizer), shape


def _under_way(config: TrainConfig, run: Run) -> tuple[TrainConfig, ModelConfig]:
    """Take from a run what `_with_start` took from a checkpoint when it began."""
    if config.start is None:
        return config, run.shape
    sizes = {name: getattr(run.config, name) for name in ("hidden", "intermediate", "layers",
                                                          "vocab")}
    return dataclasses.replace(
        config, tokenizer=config.tokenizer or run.config.tokenizer, **sizes), run.shape


def _digests(config: TrainConfig, begins: bool) -> dict[str, str]:
    """SHA-256 of a run's inputs by setting, but of those that it does not need and are gone."""
    inputs = {"data": digest_of, "valid": digest_of, "tokenizer": digest_of,
              "start": digest_of_weights}
    needed = inputs.keys() if begins else {"data", "valid"}
    paths = {name: getattr(config, name) for name in inputs}
    return {name: inputs[name](path) for name, path in paths.items()
            if path is not None and (name in needed or Path(path).exists())}


def _with_marks(shape: ModelConfig, tokenizer: bytes) -> ModelConfig:
    """Take the first and the last token of a text from the tokenizer."""
    encoder = tokenizers.Tokenizer.from_buffer(tokenizer)
    begin = encoder.token_to_id("<s>")
    if begin is None:
        raise BadInput("The tokenizer has no token <s> to begin a text with: take another one, or "
                       "none to have one learned.")
    return dataclasses.replace(shape, bos=begin, eos=encoder.token_to_id("</s>"))


def _checked_tokenizer(path: Path, vocab: int) -> bytes:
    try:
        tokenizer = path.read_bytes()
        numbers = tokenizers.Tokenizer.from_buffer(tokenizer).get_vocab().values()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadInput(f"{path} is not a tokenizer: {error}.") from error
    size = 1 + max(numbers, default=-1)
    if size > vocab:
        raise BadInput(f"{path} has tokens up to number {size - 1}, but the model is to have "
                       f"{vocab}: give --vocab {size}.")
    return tokenizer


def _mixed(*numbers: int) -> int:
    """One seed out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _too_small(config: TrainConfig, processes: Processes) -> DeviceError:
    memory = torch.cuda.get_device_properties(processes.device).total_memory
    rows = config.batch // processes.count // config.accumulate
    return DeviceError(
        f"The GPU's {memory / 2**30:.1f} GiB do not hold {rows} windows of {config.sequence} "
        f"tokens at a time: give --accumulate {config.accumulate * 2}, a smaller --batch or a "
        "smaller --sequence; only the first of them may change with --resume.")


def _is_loss(error: RuntimeError) -> bool:
    """Whether an error means that another process cannot be reached any more."""
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "connection", "peer", "tcpstore"))

"""Training from start or checkpoint to the exported model."""

import contextlib
import dataclasses
import math
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tritstream.errors import BadInput, DeviceError
from tritstream.model.config import ModelConfig
from tritstream.model.tokenizer import Tokenizer
from tritstream_train.config import TrainConfig
from tritstream_train.data.tokens import open_tokens, read_texts
from tritstream_train.data.validation import Validation
from tritstream_train.data.vocabulary import learn_tokenizer
from tritstream_train.data.windows import Windows
from tritstream_train.model.export import export
from tritstream_train.model.hgrn import HGRNBit
from tritstream_train.model.load import build as build_model
from tritstream_train.optim.adamw import make_optimizer, rate_factor, set_rates
from tritstream_train.optim.freeze import freezing
from tritstream_train.optim.settle import settled
from tritstream_train.run.curve import Curve, Record, draw
from tritstream_train.run.directory import Run
from tritstream_train.run.distributed import Processes, clip_gradients, unwrap, wrap
from tritstream_train.run.forecast import duration, forecast
from tritstream_train.run.inputs import (
    checked_tokenizer,
    digests_of_inputs,
    under_way,
    with_marks,
    with_start,
)
from tritstream_train.run.report import Report, Silent
from tritstream_train.run.signals import Stopped, Stopping
from tritstream_train.run.state import (
    State,
    collect,
    latest,
    read_state,
    restore,
    step_of,
    write_state,
)
from tritstream_train.run.step import Gradients

__all__ = ["LostLoss", "Summary", "train"]

SILENCE_S = 5.0             # longest without a word, but for one step


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
        Directory of the exported model; None if the boards do not run such a model.
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
          report: Report | None = None,
          build: Callable[[TrainConfig, ModelConfig], nn.Module] = build_model) -> Summary:
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
    build : callable
        Makes the model of a run and its shape, for experiments with others: called with tokens
        [B, T] it gives logits, with tokens and targets their mean loss; one that is recurrent has
        `new_state(batch)` and takes `state`.

    Raises
    ------
    BadInput
        Settings or files cannot be used; or, without a GPU, the run would take longer than
        `config.hours`, or more memory than there is.
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
            return _Trainer(config, Path(directory), processes, resume, report, claim,
                            build).run()
        except torch.OutOfMemoryError as error:
            raise _too_small(config, processes) from error
        except RuntimeError as error:
            if processes.count == 1 or not _is_loss(error):
                raise
            raise processes.lost() from error


class _Trainer:
    def __init__(self, config: TrainConfig, directory: Path, processes: Processes, resume: bool,
                 report: Report, claim: contextlib.ExitStack, build: Callable):
        self._processes = processes
        self._report = report
        processes.share(config.batch)
        run = Run.open(directory) if resume else None
        if run and processes.first:
            claim.enter_context(run.claimed())
        # One under way needs neither the weights that it started from nor a given tokenizer.
        begins = run is None or not run.under_way
        config, shape = with_start(config) if begins else under_way(config, run)
        digests = digests_of_inputs(config, begins)
        if run:
            run.agree(config, digests)
        self._run = run or Run.begin(directory, config, digests)
        self._config = config
        # All that may be wrong is told before the first long work.
        given = processes.first_s(self._given_tokenizer)
        held_back = None if config.valid is None else read_texts(config.valid)
        new = dataclasses.replace(config, start=None)
        if config.device == "cpu" and processes.first:
            self._forecast(lambda: build(new, shape or config.model), shape or config.model)
        self._tokenizer_json = tokenizer = given or processes.first_s(self._learned_tokenizer)
        if shape is None or shape.bos is None:
            shape = with_marks(shape or config.model, tokenizer)
        self._run.shape = self._shape = shape
        self._windows = Windows(self._tokens(tokenizer, shape.bos), batch=config.batch,
                                sequence=config.sequence, span=config.span, seed=config.seed)
        self._validation = None
        if held_back is not None:
            name = str(self._run.tokenizer)
            opened = Tokenizer(tokenizer, vocab=shape.vocab, bos=shape.bos, name=name)
            self._validation = Validation(held_back, opened, config.sequence)

        model = build(config if begins else new, shape).to(processes.device)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self._model = wrap(model, processes, config.parallel)
        self._optimizer = make_optimizer(self._model, config)
        self._curve = Curve(self._run.curve)
        self.step, self._before = 0, 0.0
        self._unlogged = 0.0, 0, 0.0
        carried = self._resume() if resume else None
        # After the optimiser is restored: that gives the weights other gradients.
        self._gradients = Gradients(self._model, processes, config)
        if carried is not None:
            start, stop = processes.share(config.batch)
            self._gradients.carried.copy_(carried[start:stop])
        if processes.first:             # not before: what cannot run leaves nothing behind
            self._run.create(tokenizer, resume)
            if not resume:
                claim.enter_context(self._run.claimed())

    # Preparation

    def _forecast(self, make: Callable[[], nn.Module], shape: ModelConfig):
        """Say what the run will take on this machine, and refuse what would not end."""
        last = latest(self._run.checkpoints)
        left = self._config.steps - (step_of(last) if last else 0)
        start, stop = self._processes.share(self._config.batch)
        if left > 0:
            found = forecast(self._config, shape, make, stop - start, left)
            found.check(self._config)
            self._report.say(str(found))

    def _given_tokenizer(self) -> bytes | None:
        """Contents of the run's own or the given `tokenizer.json`; None: it has to be learned."""
        config, own = self._config, self._run.tokenizer
        if own.exists() or config.tokenizer is not None:
            return checked_tokenizer(own if own.exists() else Path(config.tokenizer), config.vocab)
        return None

    def _learned_tokenizer(self) -> bytes:
        config = self._config
        self._report.say(f"learning a tokenizer of {config.vocab} tokens")
        return learn_tokenizer(read_texts(config.data), config.vocab)

    def _tokens(self, tokenizer: bytes, begin: int):
        """Tokens of the data; the first process makes them if need be."""
        if self._processes.first:
            self._report.say(f"reading {self._config.data}")
            tokens = open_tokens(self._config.data, tokenizer, begin, self._report.say)
            self._report.say(f"{len(tokens)} tokens")
        self._processes.wait()
        return tokens if self._processes.first else open_tokens(self._config.data, tokenizer, begin)

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
        restore(state, self._model, self._optimizer)
        self.step, self._before, self._unlogged = state.step, state.seconds, state.unlogged
        if self._processes.first:
            self._curve.cut(self.step)
        self._report.say(f"resuming from step {self.step}")
        return state.carried

    # The loop

    def run(self) -> Summary:
        began = time.perf_counter()
        with Stopping(self._report.say, listens=self._processes.count == 1) as stopping:
            record = self._train(began, stopping)
        return self._finish(record, self._before + time.perf_counter() - began)

    def _train(self, began: float, stopping: Stopping) -> Record | None:
        """Do all steps that are left; return the last line of the curve, if there was one."""
        config = self._config
        loss, count, seconds = self._unlogged
        sum_, since = torch.tensor(loss, device=self._processes.device), began - seconds
        record, progress = None, _Progress(self._report, self.step, config.steps)
        while self.step < config.steps:
            factor = rate_factor(self.step, config.steps, config.warmup)
            set_rates(self._optimizer, factor,
                      freezing(self.step, config.steps, config.warmup, config.freeze))
            sum_ = sum_ + self._loss()
            gradient = self._update()
            count += 1
            self.step += 1
            last = self.step == config.steps
            if last or self.step % config.log_every == 0 or self._validates():
                loss = self._checked(sum_ / count)
                now = time.perf_counter()
                record = self._record(loss, factor, gradient, count, now - since, now - began)
                progress.told()
                sum_, count, since = torch.zeros_like(sum_), 0, time.perf_counter()
            else:
                progress.after(self.step, sum_ / count)
            stop = self._stops(stopping)
            if last or stop or self.step % config.save_every == 0:
                if count:
                    self._checked(sum_ / count)
                self._checked(gradient, "norm of the gradient")
                now = time.perf_counter()
                self._save(self._before + now - began,
                           (self._processes.mean(sum_), count, now - since))
                since += time.perf_counter() - now
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
        self._optimizer.step()
        self._gradients.clear()
        return norm

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
            self._report.show(record, self._config.steps)
        return record

    def _validates(self) -> bool:
        """Whether bits per byte are wanted after this step."""
        every = self._config.valid_every
        return self._validation is not None and (
            self.step == self._config.steps or every > 0 and self.step % every == 0)

    def _memory(self) -> int:
        if self._processes.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    # Results

    def _save(self, seconds: float, unlogged: tuple[float, int, float]):
        weights, optimizer = collect(self._model, self._optimizer)
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
        weights, _ = collect(self._model, self._optimizer)
        target = None
        if isinstance(unwrap(self._model), HGRNBit):
            target = str(self._run.model)
            if self._processes.first:
                weights = settled(weights, self._processes.device, fused=unwrap(self._model).fused)
                export(weights, self._shape, self._tokenizer_json, self._run.model)
        self._processes.wait()
        return Summary(
            steps=self.step, tokens=record.tokens, parameters=self.parameters, seconds=seconds,
            loss=record.loss, valid=record.valid, speed=record.tokens / max(seconds, 1e-9),
            memory=self._memory(), model=target)


class _Progress:
    """Says how a run goes on while no line of its curve does.

    Parameters
    ----------
    report : Report
        Who is told.
    step, total : int
        Steps done, and of the run.
    """

    def __init__(self, report: Report, step: int, total: int):
        self._report = report
        self._first, self._total = step + 1, total      # the first step compiles, allocates, reads
        self._last = self._since = time.monotonic()

    def told(self):
        """Note that something else was said."""
        self._last = time.monotonic()

    def after(self, step: int, loss: torch.Tensor):
        """Say so, behind a step, unless something was said a moment ago."""
        now = time.monotonic()
        if step == self._first:
            self._since = now
        if now - self._last < SILENCE_S:
            return
        self._last = now
        left = ""
        if step > self._first:
            pace = (now - self._since) / (step - self._first)
            left = f", {pace:.2g} s a step, {duration(pace * (self._total - step))} to go"
        self._report.say(f"step {step}/{self._total}  loss {float(loss):.4f}{left}")


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

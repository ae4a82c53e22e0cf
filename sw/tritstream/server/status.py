"""How the server and its device are: ``/health``, ``/props``, ``/v1/models`` and the like."""

import asyncio
import dataclasses

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from tritstream.analysis.kinds import KINDS, kind_of
from tritstream.analysis.profile import StageProfile, latest
from tritstream.server.metrics import Metrics
from tritstream.server.residence import Residence, Served

__all__ = ["Status"]


class Status:
    """Answers while the device computes.

    Parameters
    ----------
    residence : Residence
        Has the models, and the device.
    metrics : Metrics
        Counts.
    """

    def __init__(self, residence: Residence, metrics: Metrics):
        self._residence = residence
        self._metrics = metrics

    async def health(self, request: Request):
        """Say that the server lives, and how its device is."""
        resident = self._residence.resident
        if self._residence.loading is not None:
            device = "loading"
        else:
            device = "failed" if resident is None or resident.scheduler.broken else "ok"
        return JSONResponse({"status": "ok", "device": device})

    async def models(self, request: Request):
        """List the models: whether they have a chat template, and which is on the device."""
        return JSONResponse({"object": "list", "data": list(map(
            self._entry, self._residence.served.values()))})

    async def model(self, request: Request):
        """Tell the same of one model."""
        return JSONResponse(self._entry(self._residence.find(request.path_params["id"])))

    def _entry(self, served: Served) -> dict:
        resident = self._residence.resident
        return {"id": served.name, "object": "model", "created": 0, "owned_by": "tritstream",
                "chat": served.source.chat_template is not None,
                "resident": resident is not None and resident.served is served}

    async def props(self, request: Request):
        """Describe the device, and the model that is on it."""
        here = self._residence.here
        engine, template = here.scheduler.engine, here.served.source.chat_template
        return JSONResponse({
            "model": here.served.name, "model_digest": engine.model, "device": engine.name,
            "evidence": engine.evidence, "lanes": engine.lanes, "slots": engine.slots,
            "candidates": engine.kept,
            "vocab": engine.vocab, "clock_hz": engine.clock_hz, "cycles": engine.cycles,
            "chat_template": None if template is None else template.source})

    async def slots(self, request: Request):
        """Count the texts that are made and that wait, and say which model is being loaded."""
        residence, resident = self._residence, self._residence.resident
        active, waiting = (0, 0) if resident is None else resident.scheduler.load
        return JSONResponse({
            "active": active, "waiting": waiting + residence.waiting, "loading": residence.loading,
            "lanes": 0 if resident is None else resident.scheduler.engine.lanes})

    async def stages(self, request: Request):
        """Tell the cycles of each stage, as it was last played."""
        scheduler = self._residence.here.scheduler
        found = await asyncio.wrap_future(scheduler.between(latest))
        engine = scheduler.engine
        return JSONResponse({"device": engine.name, "evidence": engine.evidence,
                             "clock_hz": engine.clock_hz, "stages": list(map(_stage, found))})

    async def metrics(self, request: Request):
        """Tell all counters, in the format of Prometheus."""
        resident = self._residence.resident
        gauges = {}
        if resident is not None:
            active, waiting = resident.scheduler.load
            engine = resident.scheduler.engine
            gauges = {"active_texts": active, "waiting_texts": waiting, "lanes": engine.lanes}
            if engine.cycles is not None:
                gauges |= {"device_cycles": engine.cycles, "device_stalls": engine.stalls}
        return PlainTextResponse(self._metrics.text(**gauges),
                                 media_type="text/plain; version=0.0.4")


def _stage(stage: StageProfile) -> dict:
    kind = kind_of(stage.name)
    return dataclasses.asdict(stage) | {"kind": kind, "does": KINDS[kind]}

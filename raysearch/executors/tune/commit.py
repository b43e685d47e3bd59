"""Group commit: outcomes that arrive while the journal is being written wait for its next write together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from raysearch.core.segment import Outcome
from raysearch.engine.search import OutcomeLog, Search
from raysearch.errors import JournalError, RaysearchError
from raysearch.storage.retry import waits

Accept = Callable[[], list[Outcome]]


class GroupCommit:
    """Writes outcomes to the journal before any worker is answered."""

    def __init__(self, search: Search, journal: OutcomeLog, patience_s: float, run: str) -> None:
        """`patience_s`: with storage that fails; `run` for the words on how to go on."""
        self.changed = asyncio.Event()  # set when a worker that waits should ask again
        self._search = search
        self._lifetime = search.lifetime
        self._journal = journal
        self._warnings = search.warnings
        self._patience_s = patience_s
        self._run = run
        self._waiting: list[tuple[Accept, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def durably(self, accept: Accept) -> None:
        """Returns when the outcomes that `accept` gives are in the journal, or the search has failed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((accept, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def finish(self) -> None:
        """Returns when nothing is being written."""
        while self._flushing is not None and not self._flushing.done():
            await asyncio.wait([self._flushing])

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._settle([accept() for accept, _ in batch])
            except Exception as error:  # noqa: BLE001  (no worker may be left waiting, whatever it was)
                self._lifetime.fail(f"outcomes could not be taken in: {type(error).__name__}: {error}")
            for _, done in batch:
                if not done.done():  # its worker hung up
                    done.set_result(None)
            self.changed.set()

    async def _settle(self, accepted: list[list[Outcome]]) -> None:
        together = [outcome for part in accepted for outcome in part]
        if together and not await self._written(together):
            self._search.forget(together)
            return
        for part in accepted:
            self._record(part)

    def _record(self, outcomes: list[Outcome]) -> None:
        try:
            self._search.record(outcomes)
        except RaysearchError as error:
            self._lifetime.fail(str(error))
        except Exception as error:  # noqa: BLE001  (a strategy or sampler that is not ours may raise anything)
            self._lifetime.fail(f"the strategy raised {type(error).__name__}: {error}")

    async def _written(self, outcomes: list[Outcome]) -> bool:
        """Appends to the journal; on a full disk makes room and tries again before it gives up."""
        for wait in (*waits(self._patience_s), None):
            try:
                await asyncio.to_thread(self._journal.append, outcomes)
                return True
            except (JournalError, OSError) as error:
                if wait is None:
                    self._lifetime.fail(
                        f"the journal cannot be written: {error}. Every acknowledged outcome is in it; make "
                        f"room and go on with: raysearch resume {self._run}"
                    )
                    return False
                self._warnings.add(f"the journal could not be written, trying again: {error}")
                self._search.collect()
                await asyncio.sleep(wait)
        return False

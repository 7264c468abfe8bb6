"""The model behind the X-ray widget: two X-rays, their geometry, a reconstruction. No Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_trifocal.message import Message
from napari_trifocal.worker import JobQueue, Post
from napari_trifocal.xray_checks import Checked, look_over
from napari_trifocal.xray_compare import Truth
from napari_trifocal.xray_engines import ENGINES, Engines, load_engine
from napari_trifocal.xray_films import read_films
from napari_trifocal.xray_jobs import Order, sample_ct, simulate
from napari_trifocal.xray_offers import EXCHANGE
from napari_trifocal.xray_setup import Setup
from napari_trifocal.xray_slot import FRONTAL, LATERAL, SIDES, Slot
from trifocal.predictor import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_trifocal.xray_compare import Comparison
    from napari_trifocal.xray_engines import Load
    from napari_trifocal.xray_films import FilmFiles
    from napari_trifocal.xray_jobs import Answer, Simulation
    from napari_trifocal.xray_offers import Offer
    from napari_trifocal.xray_slot import Side
    from trifocal.image import Image
    from trifocal.predictor import Progress

SAMPLE_SEED = 5
REFINE_STEPS = 15
SAMPLE_NAME = "Trunk phantom"


@dataclass(frozen=True)
class Options:
    """How to reconstruct.

    Attributes:
        engine: One of `xray_engines.ENGINES`.
        device: "auto", "cpu" or "cuda".
        refine: Whether the volume is brought into agreement with the films.
        samples: For the uncertainty, 0 for the engine's own estimate.
    """

    engine: str = next(iter(ENGINES))
    device: str = "auto"
    refine: bool = True
    samples: int = 4


class XraySession:
    """What the user works on. Every method is called on the interface thread and returns at once.

    Args:
        post: Runs a function on the interface thread, later.
        device: "auto", "cpu" or "cuda".
        load: Makes an engine from the name of its checkpoint and a device.

    Signals:
        slots_changed: Other X-rays.
        setup_changed: Another geometry.
        checked: The films and the geometry have been looked over.
        options_changed: Another engine, device, refinement or number of samples.
        simulated: A `Simulation`.
        predicted: An `Answer`.
        refined_changed: The volume before the refinement is looked at, or the one after it.
        compared: There is a `Comparison` with a truth, or none any more.
        said: A `Message` for the user.
        progress: Fraction and what is being done; fraction 1 when nothing runs any more.

    Attributes:
        slots: The X-rays by side.
        setup: What the user says about sources, detectors and the box.
        resolved: Where they stand, with what the films say and what had to be assumed.
        found: What looks wrong, with what would mend it; nothing is mended unasked.
        options: How to reconstruct.
        truth: What a reconstruction is compared with.
        answer: The newest reconstruction.
        comparison: Of that with the truth.
        refined: Whether the volume after the refinement is looked at.
    """

    slots_changed = Signal()
    setup_changed = Signal()
    checked = Signal()
    options_changed = Signal()
    simulated = Signal(object)
    predicted = Signal(object)
    refined_changed = Signal()
    compared = Signal()
    said = Signal(Message)
    progress = Signal(float, str)

    def __init__(self, post: Post, device: str = "auto", load: Load = load_engine) -> None:
        self.slots: dict[Side, Slot] = {}
        self.setup = Setup()
        self.resolved = self.setup.resolve({})
        self.found = Checked()
        self.options = Options(device=device)
        self.truth: Truth | None = None
        self.answer: Answer | None = None
        self.comparison: Comparison | None = None
        self.refined = True
        self._engines = Engines(load)
        self._opening = JobQueue(post, "trifocal-xray-open")
        self._checking = JobQueue(post, "trifocal-xray-check")
        self._working = JobQueue(post, "trifocal-xray")
        self._comparing = JobQueue(post, "trifocal-xray-compare")
        self._saving = JobQueue(post, "trifocal-xray-save")

    @property
    def busy(self) -> bool:
        """Whether anything is being read, computed or written."""
        return any(queue.busy for queue in self._queues)

    @property
    def findings(self) -> tuple[str, ...]:
        """What looks wrong with the X-rays, as sentences."""
        return tuple(offer.text for offer in self.found.offers)

    def open(self, paths: Iterable[str | Path], side: Side | None = None) -> None:
        """Read X-rays; each goes to `side`, or to where its file says that it belongs."""
        wanted = [Path(path) for path in paths][:2]

        self._run(
            self._opening, partial(read_films, wanted), partial(self._on_read, side), replace_running=True
        )

    def place(self, slot: Slot, side: Side | None = None, *, taken: Iterable[Side] = ()) -> Side:
        """Put an X-ray into a slot: the one named, the one that its file names, or one that is empty."""
        free = [s for s in SIDES if s not in taken]
        empty = [s for s in free if s not in self.slots]
        if side is None and slot.side in free:
            side = slot.side
        chosen = side or next(iter([*empty, *free]), FRONTAL)
        self._take({**self.slots, chosen: slot}, self.setup.forgetting(chosen))
        return chosen

    def clear(self, side: Side) -> None:
        """Empty a slot."""
        if side in self.slots:
            self._take({s: slot for s, slot in self.slots.items() if s != side}, self.setup.forgetting(side))

    def exchange(self) -> None:
        """The frontal X-ray becomes the lateral one and the other way round."""
        if self.slots:
            other = {FRONTAL: LATERAL, LATERAL: FRONTAL}
            self._take({other[side]: slot for side, slot in self.slots.items()}, self.setup)

    def change(self, side: Side, what: str) -> None:
        """Mirror, flip, turn or invert an X-ray; see `Slot.changed`."""
        if side in self.slots:
            self._take({**self.slots, side: self.slots[side].changed(what)}, self.setup)

    def type_field(self, side: Side, name: str, value: Any) -> bool:
        """Say something about a view: a field of `Known`; None to go by the file again."""
        return self._try(lambda: self.setup.typed(side, name, value, self.resolved))

    def type_extent(self, extent_mm: tuple[float, float, float]) -> bool:
        """Say how large the box is."""
        return self._try(lambda: self.setup.boxed(extent_mm, self.resolved))

    def type_energy(self, kev: float) -> bool:
        """Say at which effective energy the films were taken."""
        given = self.setup.given
        given = None if given is None else replace(given, energy_kev=kev)
        return self._try(lambda: replace(self.setup, energy_kev=kev, given=given))

    def accept(self, offer: Offer) -> None:
        """Do what was offered."""
        if offer.change == EXCHANGE:
            self.exchange()
        elif offer.change:
            slots = dict(self.slots)
            for side in [s for s in offer.sides if s in slots] * offer.times:
                slots[side] = slots[side].changed(offer.change)
            self._take(slots, self.setup)

    def choose(self, **options: Any) -> None:
        """Take another engine, device, refinement or number of samples."""
        self.options = replace(self.options, **options)
        self.options_changed.emit()

    def set_truth(self, ct: Image | None, name: str = "") -> None:
        """Compare reconstructions with this CT in HU; None for no more."""
        self.truth = None if ct is None else Truth(ct, name)
        self._compare()

    def show_refined(self, refined: bool) -> None:
        """Look at the volume after the refinement, or at the one before it."""
        if refined != self.refined:
            self.refined = refined
            self.refined_changed.emit()

    def reconstruct(self) -> None:
        """Reconstruct from the X-rays that there are."""
        if not self.slots:
            self.say("open an X-ray first, or simulate two from a CT", is_error=True)
        else:
            self._run(self._working, self._order().predict, self._on_answer, replace_running=True)

    def simulate(self, ct: Image, name: str, *, then_reconstruct: bool = False) -> None:
        """Project a CT into both slots, in the geometry that is set."""
        self._simulate(lambda _: ct, name, then_reconstruct=then_reconstruct)

    def tell_story(self, seed: int = SAMPLE_SEED) -> None:
        """Make the trunk phantom, project it, reconstruct it and compare the two."""
        self._simulate(partial(sample_ct, seed), SAMPLE_NAME, then_reconstruct=True)

    def run_saving(self, work: Callable[..., Any], done: Callable[[Any], None]) -> None:
        """Run something that writes, away from the interface thread."""
        self._run(self._saving, work, done)

    def cancel(self) -> None:
        """Stop whatever is being read, computed or written."""
        for queue in self._queues:
            queue.cancel()

    def close(self) -> None:
        """Stop everything and join the threads."""
        for queue in self._queues:
            queue.close()

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Tell the user something."""
        self.said.emit(Message(text, is_error))

    def refuse(self, error: BaseException) -> bool:
        """Tell the user why something cannot be done."""
        self.say(" ".join(str(error).split()) or type(error).__name__, is_error=True)
        return False

    @property
    def _queues(self) -> tuple[JobQueue, ...]:
        return self._opening, self._checking, self._working, self._comparing, self._saving

    def _order(self) -> Order:
        options = self.options
        return Order(
            dict(self.slots),
            self.setup,
            options.engine,
            options.device,
            REFINE_STEPS if options.refine else 0,
            options.samples,
            self.findings,
            self._engines,
        )

    def _run(
        self,
        queue: JobQueue,
        work: Callable[..., Any],
        done: Callable[[Any], None],
        *,
        replace_running: bool = False,
    ) -> None:
        def finish(result: Any) -> None:
            self.progress.emit(1.0, "")
            done(result)

        queue.submit(work, finish, self._fail, self.progress.emit, replace_running=replace_running)

    def _simulate(self, make: Callable[[Progress], Image], name: str, *, then_reconstruct: bool) -> None:
        setup = self.setup

        def work(report: Progress) -> Simulation:
            return simulate(make(report), name, setup, report)

        def done(simulation: Simulation) -> None:
            self._on_simulation(simulation)
            if then_reconstruct:
                self.reconstruct()

        self._run(self._opening, work, done, replace_running=True)

    def _on_read(self, side: Side | None, found: FilmFiles) -> None:
        taken: list[Side] = []
        for slot in found.slots:
            taken.append(self.place(slot, side if len(found.slots) == 1 else None, taken=taken))
        told = [f"{slot.radiograph.name}: the {s} X-ray" for slot, s in zip(found.slots, taken, strict=True)]
        alone = len({slot.folder for slot in self.slots.values()}) == 1
        if found.geometry is not None and alone:
            fits = self._try(lambda: replace(self.setup, given=found.geometry))
            told += ["geometry from the file beside it"] if fits else []
        self.say("; ".join([*told, *found.problems]), is_error=bool(found.problems))

    def _on_simulation(self, simulation: Simulation) -> None:
        self.truth = Truth(simulation.ct, simulation.name)
        self.answer = None
        self._compare()
        self.simulated.emit(simulation)
        self._take(dict(simulation.slots), simulation.setup)
        self.say(f"two X-rays of {simulation.name}: reconstruct, and compare with it")

    def _try(self, make: Callable[[], Setup]) -> bool:
        """Take another geometry, if it makes sense; else it stays and the reason is said."""
        try:
            setup = make()
            setup.resolve({side: slot.shape() for side, slot in self.slots.items()})
        except ValueError as error:
            self.setup_changed.emit()  # the fields go back to what holds
            return self.refuse(error)
        self._take(self.slots, setup)
        return True

    def _take(self, slots: dict[Side, Slot], setup: Setup) -> None:
        """Work on these X-rays in this geometry; if it does not fit them, in the usual one."""
        films = {side: slot.shape() for side, slot in slots.items()}
        try:
            resolved = setup.resolve(films)
        except ValueError as error:
            self.refuse(error)
            setup = Setup(energy_kev=setup.energy_kev)
            resolved = setup.resolve(films)
        self.slots, self.setup, self.resolved = slots, setup, resolved
        self.slots_changed.emit()
        self.setup_changed.emit()
        self._check()

    def _check(self) -> None:
        """Look the films and the geometry over; what was found before is of other films."""
        self.found = Checked()
        self.checked.emit()
        if self.slots:
            self._checking.submit(
                partial(look_over, self._order()),
                self._on_checked,
                self._on_check_failed,
                replace_running=True,
            )

    def _on_checked(self, found: Checked) -> None:
        self.found = found
        self.checked.emit()

    def _on_check_failed(self, error: BaseException) -> None:
        if not isinstance(error, Cancelled):
            self.refuse(error)

    def _on_answer(self, answer: Answer) -> None:
        self.answer, self.refined = answer, answer.refined
        self.predicted.emit(answer)
        took = f"reconstructed in {answer.prediction.seconds:.1f} s"
        self.say("; ".join([took, *answer.doubts]), is_error=bool(answer.doubts))
        self._compare()

    def _compare(self) -> None:
        self.comparison = None
        self._comparing.forget()
        self.compared.emit()
        if self.truth is not None and self.answer is not None:
            work = partial(self.truth.compare, self.answer)
            self._run(self._comparing, work, self._on_compared, replace_running=True)

    def _on_compared(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.compared.emit()

    def _fail(self, error: BaseException) -> None:
        self.progress.emit(1.0, "")
        if isinstance(error, Cancelled):
            self.say("cancelled")
        else:
            self.refuse(error)

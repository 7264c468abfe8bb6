"""The model behind the X-ray widget: two X-rays, their geometry, a reconstruction. No Qt, no napari."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_trifocal.message import Message
from napari_trifocal.worker import JobQueue, Post
from napari_trifocal.xray_arrangement import Arrangement
from napari_trifocal.xray_checks import Checked
from napari_trifocal.xray_compare import Truth
from napari_trifocal.xray_engines import engines, load_engine
from napari_trifocal.xray_films import read_films
from napari_trifocal.xray_jobs import SAMPLE_NAME, Options, Order, sample_ct, simulate
from trifocal.predictor import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from napari_trifocal.xray_compare import Comparison
    from napari_trifocal.xray_engines import Load
    from napari_trifocal.xray_films import FilmFiles
    from napari_trifocal.xray_jobs import Answer, Simulation
    from napari_trifocal.xray_offers import Offer
    from napari_trifocal.xray_slot import Side, Slot
    from trifocal.image import Image
    from trifocal.predictor import Progress


class XraySession:
    """What the user works on. Every method is called on the interface thread and returns at once.

    Args:
        post: Runs a function on the interface thread, later.
        device: "auto", "cpu" or "cuda".
        load: Makes an engine from the name of its checkpoint and a device.

    Signals:
        arranged: Other X-rays or another geometry.
        checked: The films and the geometry have been looked over.
        options_changed: Another engine, device, refinement or number of samples.
        simulated: A `Simulation`.
        predicted: An `Answer`.
        refined_changed: The volume before the refinement is looked at, or the one after it.
        compared: There is a `Comparison` with a truth, or none any more.
        said: A `Message` for the user.
        progress: Fraction and what is being done; fraction 1 when nothing runs any more.

    Attributes:
        arrangement: X-rays and geometry.
        found: What looks wrong, with what would mend it; nothing is mended unasked. None until it is known.
        options: How to reconstruct.
        truth: What a reconstruction is compared with.
        answer: The newest reconstruction.
        comparison: Of that with the truth.
        refined: Whether the volume after the refinement is looked at.
    """

    arranged = Signal()
    checked = Signal()
    options_changed = Signal()
    simulated = Signal(object)
    predicted = Signal(object)
    refined_changed = Signal()
    compared = Signal()
    said = Signal(Message)
    progress = Signal(float, str)

    def __init__(self, post: Post, device: str = "auto", load: Load = load_engine) -> None:
        self.arrangement = Arrangement()
        self.found: Checked | None = Checked()
        self.options = Options(device=device)
        self.truth: Truth | None = None
        self.answer: Answer | None = None
        self.comparison: Comparison | None = None
        self.refined = True
        self._engines = engines(load)
        self._opening = JobQueue(post, "trifocal-xray-open")
        self._checking = JobQueue(post, "trifocal-xray-check")
        self._working = JobQueue(post, "trifocal-xray")
        self._comparing = JobQueue(post, "trifocal-xray-compare")
        self._saving = JobQueue(post, "trifocal-xray-save")

    @property
    def slots(self) -> Mapping[Side, Slot]:
        """The X-rays by side."""
        return self.arrangement.slots

    @property
    def stale(self) -> bool:
        """Whether the newest reconstruction is of other X-rays or of another geometry."""
        return self.answer is not None and self.answer.order.arrangement is not self.arrangement

    @property
    def busy(self) -> bool:
        """Whether anything is being read, computed or written."""
        return any(queue.busy for queue in self._queues)

    def open(self, paths: Iterable[str | Path], side: Side | None = None) -> None:
        """Read X-rays; each goes to `side`, or to where its file says that it belongs."""
        wanted = [Path(path) for path in paths][:2]

        self._run(
            self._opening, partial(read_films, wanted), partial(self._on_read, side), replace_running=True
        )

    def place(self, slot: Slot, side: Side | None = None, *, taken: Iterable[Side] = ()) -> Side:
        """Put an X-ray into a slot: the one named, the one that its file names, or one that is empty."""
        chosen = side or self.arrangement.side_for(slot, taken)
        if not self.take(lambda: self.arrangement.placed(slot, chosen)):
            self.take(lambda: Arrangement({**self.slots, chosen: slot}))  # what was typed does not fit it
        return chosen

    def clear(self, side: Side) -> None:
        """Empty a slot."""
        if side in self.slots:
            self.take(lambda: self.arrangement.cleared(side))

    def exchange(self) -> None:
        """The frontal X-ray becomes the lateral one and the other way round."""
        if self.slots:
            self.take(self.arrangement.exchanged)

    def change(self, side: Side, what: str) -> None:
        """Mirror, flip, turn or invert an X-ray; see `Slot.changed`."""
        if side in self.slots:
            self.take(lambda: self.arrangement.changed(side, what))

    def accept(self, offer: Offer) -> None:
        """Do what was offered."""
        self.take(lambda: self.arrangement.accepted(offer))

    def take(self, make: Callable[[], Arrangement]) -> bool:
        """Work on another arrangement; if it makes no sense, all stays as it is and the reason is said."""
        try:
            self.arrangement = make()
        except ValueError as error:
            self.arranged.emit()  # the fields go back to what holds
            return self.refuse(error)
        self.arranged.emit()
        self._check()
        return True

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

    def tell_story(self) -> None:
        """Make the trunk phantom, project it, reconstruct it and compare the two."""
        self._simulate(sample_ct, SAMPLE_NAME, then_reconstruct=True)

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
        return Order(self.arrangement, self.options, self.found, self._engines)

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
        setup = self.arrangement.setup

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
            fits = self.take(partial(self.arrangement.given, found.geometry))
            told += ["geometry from the file beside it"] if fits else []
        self.say("; ".join([*told, *found.problems]), is_error=bool(found.problems))

    def _on_simulation(self, simulation: Simulation) -> None:
        self.truth = Truth(simulation.ct, simulation.name)
        self.answer = None
        self._compare()
        self.simulated.emit(simulation)
        self.take(lambda: simulation.arrangement)
        self.say(f"two X-rays of {simulation.name}: reconstruct, and compare with it")

    def _check(self) -> None:
        """Look the films and the geometry over; what was found before is of other films."""
        self.found = None if self.slots else Checked()
        self.checked.emit()
        if self.slots:
            self._checking.submit(
                self._order().look_over,
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
        self.say(
            f"{took}; read what stands above it" if answer.doubts else took, is_error=bool(answer.doubts)
        )
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

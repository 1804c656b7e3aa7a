"""The steps in which trained students answer, and in which a method fits something to what they answered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.answers import reasoning
from understudy.asking import bought, completer_of, ledger_of, metered, named, price_of_teacher, run_name
from understudy.data import Prepared
from understudy.engines.ray import RaySpec
from understudy.evaluate import Asked, judged, predict
from understudy.generators.contract import EXACT, REFERENCE
from understudy.generators.parity import Rehearsal, spread
from understudy.generators.ready import Wanted, device_here, ready
from understudy.generators.trusted import as_measured
from understudy.ledger import Ledger
from understudy.probing import Probed, probe_of, probed
from understudy.records import forget_unfinished, load_predictions, save
from understudy.roles import Completer, Identity, LiveStudent, Method
from understudy.store import write_text
from understudy.studying import fold_of
from understudy.types import AnswerForm, Prediction, Question, Sampling, Written
from understudy.voting import vote
from understudy.work import Work, method_of, student_of, teacher_of

if TYPE_CHECKING:
    from understudy.engines.ray_students import Spread
    from understudy.students._completer import StudentCompleter

ENGINES = "engines"
"""The folder of a run for what engines make of students, and how they were measured. It may be deleted."""
RAW = "raw"
"""Marks predictions that hold all that was written, before the method settles what counts."""


def ask_students(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """Predictions are settled, judged and written as they come: memory holds a window of them."""
    prepared = work.prepared()
    path = work.folder / "predictions.jsonl"
    forget_unfinished(path)
    questions = list(prepared.splits[settings["split"]])
    method = method_of(settings["method"])
    if "only" in settings:
        apart = set(fold_of(questions, settings["fold"], settings["folds"]))
        questions = [question for question in questions if question.id in apart]
    given = _given(settings, work, questions, prepared.form)
    if given:
        questions = [question for question in questions if question.id in given[settings["given"]]]
    probing = Probed(tuple(questions), given)
    if "probe" in settings:
        original = load_predictions(work.needs["original"])
        probing = probed(probe_of(settings["probe"]), method, questions, original, prepared.form)
        questions = list(probing.questions)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(work.ledger, run=work.folder.name))
        answers = len(questions) * settings.get("chains", 1)
        begun = frozenset(name for name, texts in probing.prefixes.items() if any(texts.values()))
        students, ledgers, told = _who_answers(settings, work, method, prepared, answers, begun, stack)
        drawn = None
        if "chains" in settings:
            drawn = Sampling(temperature=settings["temperature"], max_tokens=settings["max_new_tokens"])
        asked = Asked(
            Sampling(max_tokens=settings["max_new_tokens"]),
            drawn,
            settings.get("chains", 1),
            probing.given,
            probing.prefixes,
            ledgers,
            only=settings.get("only", ""),
        )
        written = predict(questions, method, students, asked, ledger, work.progress)
        settled = _settled(settings, work, method, questions, written, prepared.form)
        tally = _Tally(prepared.form, judges=not settings.get(RAW) and "only" not in settings)
        save(path, tally.over(questions, settled))
    result: dict[str, Any] = {"n": tally.count, "engines": told}
    if "probe" in settings:
        result["skipped"] = dict(probing.skipped)
    if "answerer" in settings:
        result["bought"] = bought(work)
    if tally.judges:
        result["correct"] = tally.correct
    return result


@dataclass
class _Tally:
    """What is to be told of predictions, counted as they pass."""

    form: AnswerForm
    judges: bool
    count: int = 0
    correct: int = 0

    def over(self, questions: Sequence[Question], predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """`predictions` come in the order of `questions`."""
        for question, prediction in zip(questions, predictions, strict=True):
            self.count += 1
            if self.judges:
                self.correct += judged(question, prediction, self.form).verdict.name == "correct"
            yield prediction


def _who_answers(
    settings: Mapping[str, Any],
    work: Work,
    method: Method,
    prepared: Prepared,
    answers: int,
    begun: frozenset[str],
    stack: ExitStack,
) -> tuple[dict[str, Completer], dict[str, Ledger], dict[str, Any]]:
    """Who writes each stage; the ledger of those stages that somebody writes who is paid; and, of the others,
    which engine runs them and why. `answers` is how many texts each stage writes, about; `begun` are those
    stages whose texts are given a beginning. Whoever holds something open is closed with `stack`."""
    from understudy.students._completer import StudentCompleter

    student = student_of(settings["student"])
    machines = RaySpec(**work.how["machines"]) if work.how.get("machines") else None
    wanted = _wanted(settings, work, answers, machines)
    split, questions = spread(prepared.splits)
    longest, batch = settings["max_new_tokens"], settings["batch_tokens"]
    rehearsal = Rehearsal(method, prepared.form, split, questions, longest, batch, begun=begun)
    found: dict[str, Completer] = {}
    ledgers: dict[str, Ledger] = {}
    told: dict[str, Any] = {}
    here: dict[str, tuple[Path, LiveStudent, StudentCompleter]] = {}
    for stage in method.stages():
        only_others = settings.get("only", stage.name) != stage.name
        if only_others or not stage.asked or stage.name == settings["given"]:
            continue
        if stage.by == "teacher":
            found[stage.name], ledgers[stage.name] = _answerer(settings, work, stack)
        elif stage.uses in found:
            found[stage.name] = found[stage.uses]
        else:
            folder = work.needs[f"stage {stage.uses or stage.name}"]
            live = student.load(folder / "model")
            cache = work.ledger.parent / ENGINES
            writer, told[stage.name] = ready(live, folder / "model", wanted, stage, rehearsal, cache)
            identity = Identity(
                "local", f"student:{settings['student']['name']}", _revision(settings, folder)
            )
            answering = StudentCompleter(live, identity, settings["batch_tokens"], writer)
            stack.callback(answering.close)
            found[stage.name] = answering
            here[stage.name] = folder / "model", live, answering
    if machines and here:
        many = _on_machines(settings, work, machines, here, told)
        stack.callback(many.close)
        swapped = {id(answering): many.stages[name] for name, (_, _, answering) in here.items()}
        found = {name: swapped.get(id(who), who) for name, who in found.items()}
    return found, ledgers, told


def _wanted(settings: Mapping[str, Any], work: Work, answers: int, machines: RaySpec | None) -> Wanted:
    engine = settings.get("engine") or work.how.get("engine", "auto")
    compute_type = settings.get("compute_type", EXACT)
    if machines and (engine, compute_type) == ("auto", EXACT):
        # What is fast is measured here: that says nothing of actors on another kind of device.
        alike = (device_here() == "cuda") == (machines.gpus_per_actor > 0)
        engine = engine if alike else REFERENCE
    return Wanted(engine, compute_type, answers, drawn="chains" in settings)


def _on_machines(
    settings: Mapping[str, Any],
    work: Work,
    machines: RaySpec,
    here: Mapping[str, tuple[Path, LiveStudent, StudentCompleter]],
    told: Mapping[str, Any],
) -> Spread:
    """The same students in the actors of a cluster. Those in this process only count tokens from now on."""
    from understudy.engines.ray_students import Copy, spread_students

    copies = {}
    for name, (model, _, answering) in here.items():
        answering.close()
        copies[name] = Copy(
            student=settings["student"],
            model=model.resolve(),
            cache=(work.ledger.parent / ENGINES).resolve(),
            measured=as_measured(told[name], model),
        )
    near = {name: (answering.identity, live.source_tokens) for name, (_, live, answering) in here.items()}
    return spread_students(copies, near, settings["batch_tokens"], machines)


def _revision(settings: Mapping[str, Any], folder: Path) -> str:
    """Whose words the ledger hands out: those of another engine or format only where they are the same."""
    otherwise = [settings[key] for key in ("engine", "compute_type") if key in settings]
    return " ".join([folder.name, *otherwise])


def _answerer(settings: Mapping[str, Any], work: Work, stack: ExitStack) -> tuple[Completer, Ledger]:
    """The frozen one who answers from what a student wrote, and the ledger that keeps what it costs."""
    how, who = work.how, teacher_of(work.how["answerer"])
    model = work.needs["teach"] / "model" if "teach" in work.needs else None
    price = price_of_teacher(who, how)
    completer = completer_of(who, model, how)
    stack.callback(completer.close)
    ledger = ledger_of(how, work.ledger)
    opened = Ledger(ledger, run=run_name(how, work.folder), price=price.of if price else None)
    return metered(named(completer, settings.get("revision", "")), how, ledger, price), stack.enter_context(
        opened
    )


def _given(
    settings: Mapping[str, Any], work: Work, questions: Sequence[Question], form: AnswerForm
) -> dict[str, dict[str, str]]:
    """The teacher's reasoning on the split by question id, for the stage that is to read that."""
    if settings["given"] is None:
        return {}
    by_id = {question.id: question for question in questions}
    texts = {
        p.question_id: reasoning(p.text, form, by_id[p.question_id].choices)
        for p in load_predictions(work.needs["teacher"])
    }
    return {settings["given"]: texts}


def _settled(
    settings: Mapping[str, Any],
    work: Work,
    method: Method,
    questions: Sequence[Question],
    written: Iterable[Sequence[tuple[Written, ...]]],
    form: AnswerForm,
) -> Iterator[Prediction]:
    """What counts as each question's answer: what the method makes of its texts, or the vote of several."""
    tuned: dict[str, Any] = {}
    if "tuned" in work.needs:
        tuned = json.loads((work.needs["tuned"] / "tuned.json").read_text(encoding="utf-8"))
    for question, chains in zip(questions, written, strict=True):
        if settings.get(RAW) or "only" in settings:
            yield Prediction(question.id, chains[0])
        else:
            settled = [method.settle(question, texts, form, tuned) for texts in chains]
            yield settled[0] if len(settled) == 1 else vote(question, settled, form)


def tune_method(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """What a method fits on dev, from what its students wrote there."""
    prepared = work.prepared()
    questions = {question.id: question for question in prepared.splits[settings["split"]]}
    predictions = load_predictions(work.needs["predicted"])
    rows = [(questions[p.question_id], p.written) for p in predictions]
    tuned = method_of(settings["method"]).tune(rows, prepared.form)
    write_text(work.folder / "tuned.json", json.dumps(tuned, indent=1))
    return {"n": len(rows), "tuned": tuned}

"""The picture of a growing network: it is valid, and shows every seed event of the log."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from esper_karn import KarnError, RunState, fold, growth_svg, growth_view
from esper_leyline import Blueprint, SeedEvent, SeedEventKind, SeedReport, SeedStage
from esper_leyline.events import EpisodeOutcome, EpochCompleted, Event
from esper_leyline.reports import HostReport

SVG = "{http://www.w3.org/2000/svg}"
EPOCHS = 30
VISIBLE = {SeedStage.GERMINATED, SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING}
VISIBLE |= {SeedStage.FOSSILIZED}

GERMINATED, TRAINING, BLENDING = SeedStage.GERMINATED, SeedStage.TRAINING, SeedStage.BLENDING
HOLDING, FOSSILIZED, PRUNED = SeedStage.HOLDING, SeedStage.FOSSILIZED, SeedStage.PRUNED
EMBARGOED, RESETTING, DORMANT = SeedStage.EMBARGOED, SeedStage.RESETTING, SeedStage.DORMANT

SCRIPT = {
    "r0c0": [
        *((5, GERMINATED), (6, TRAINING), (8, BLENDING), (12, HOLDING), (13, FOSSILIZED)),
    ],
    "r0c1": [
        *((15, GERMINATED), (16, TRAINING), (17, BLENDING), (21, HOLDING), (22, PRUNED)),
        *((22, EMBARGOED), (27, RESETTING), (28, DORMANT), (29, GERMINATED)),
    ],
    "r0c2": [],
}
"""Each slot's stages, with the epochs in which it enters them."""

KINDS = {
    GERMINATED: SeedEventKind.GERMINATED,
    FOSSILIZED: SeedEventKind.FOSSILIZED,
    PRUNED: SeedEventKind.PRUNED,
}
ALPHAS = {8: 0.25, 9: 0.5, 10: 0.75, 11: 1.0, 12: 1.0, 17: 0.5, 18: 1.0}


def stage_at(slot, epoch):
    return next((stage for start, stage in reversed(SCRIPT[slot]) if start <= epoch), DORMANT)


def host_after(epoch):
    seeds = [
        SeedReport(
            slot=slot,
            stage=stage_at(slot, epoch),
            blueprint=Blueprint.CONV_LIGHT if slot == "r0c0" else "wavelet",
            alpha=ALPHAS.get(epoch, 0.0),
        )
        for slot in SCRIPT
    ]
    return HostReport(
        seeds=tuple(seeds),
        host_parameters=782,
        fossil_parameters=90 if epoch >= 13 else 0,
        val_accuracy=20.0 + 2 * epoch,
    )


def seed_events(slot, epoch):
    """The events of a slot in an epoch, as a host reports them."""
    source = stage_at(slot, epoch - 1)
    for start, target in SCRIPT[slot]:
        if start != epoch:
            continue
        moved = SeedEvent(
            kind=SeedEventKind.STAGE_CHANGED,
            slot=slot,
            source=source,
            target=target,
            blueprint=Blueprint.CONV_LIGHT if slot == "r0c0" else "wavelet",
            contribution=23.9 if target is FOSSILIZED else None,
        )
        if target in KINDS:
            yield replace(moved, kind=KINDS[target])
        yield moved
        source = target


def grown_run():
    """One episode in which a seed is fossilized, one is pruned and one has only begun."""
    payloads = []
    for epoch in range(1, EPOCHS + 1):
        payloads += [(epoch, each) for slot in SCRIPT for each in seed_events(slot, epoch)]
        payloads.append((epoch, EpochCompleted(host=host_after(epoch))))
    outcome = EpisodeOutcome.model_construct(
        rng_seed=1,
        reward_components={},
        host=host_after(EPOCHS),
        ended="horizon",
        best_val_accuracy=80.0,
        episode_return=1.0,
        germinated=3,
        fossilized=1,
        pruned=1,
    )
    return [
        Event(
            run_id="r",
            boot=0,
            sequence=number,
            monotonic=0.5 * number,
            wall_time=0.5 * number,
            round=1,
            epoch=epoch,
            environment=0,
            payload=payload,
        )
        for number, (epoch, payload) in enumerate([*payloads, (EPOCHS, outcome)])
    ]


@pytest.fixture(scope="module")
def events():
    return grown_run()


def test_the_picture_is_well_formed_and_shows_each_seed_event(events):
    root = ET.fromstring(growth_svg(growth_view(fold(events))))
    assert root.tag == f"{SVG}svg"
    shown = {
        (each.get("data-stage"), each.get("data-slot"), int(each.get("data-epoch")))
        for each in root.iter()
        if each.get("data-event") is not None
    }
    logged = {
        (event.payload.target.name, event.payload.slot, event.epoch)
        for event in events
        if event.kind in (SeedEventKind.STAGE_CHANGED, SeedEventKind.PRUNED)
        and event.payload.target in VISIBLE | {SeedStage.PRUNED}
    }
    assert len(logged) == 11
    assert shown == logged
    kinds = {each.get("data-event") for each in root.iter()} - {None}
    assert kinds == {"seed_germinated", "seed_stage_changed", "seed_fossilized", "seed_pruned"}


def test_every_animation_that_is_used_is_defined(events):
    root = ET.fromstring(growth_svg(growth_view(fold(events))))
    style = root.findtext(f"{SVG}style")
    used = {
        part.removeprefix("animation-name:")
        for each in root.iter()
        for part in (each.get("style") or "").split(";")
        if part.startswith("animation-name:")
    }
    assert len(used) >= 6
    assert all(f"@keyframes {name}{{" in style for name in used)
    assert "prefers-color-scheme:dark" in style
    assert "prefers-reduced-motion:reduce" in style


def test_the_view_has_the_seeds_of_the_log(events):
    view = growth_view(fold(events))
    first, second, third = view.slots
    (fossil,) = first.seeds
    assert (fossil.blueprint, fossil.start, fossil.pruned) == ("conv_light", 5, None)
    assert [(span.stage, span.start, span.end) for span in fossil.stages] == [
        *((GERMINATED, 5, 6), (TRAINING, 6, 8), (BLENDING, 8, 12)),
        *((HOLDING, 12, 13), (FOSSILIZED, 13, EPOCHS + 1)),
    ]
    assert fossil.contribution == 23.9
    assert fossil.alpha[3:] == ((8, 0.25), (9, 0.5), (10, 0.75), (11, 1.0), (12, 1.0))
    pruned, begun = second.seeds
    assert (pruned.blueprint, pruned.pruned, pruned.stages[-1].end) == ("wavelet", 22, 22)
    assert (begun.pruned, begun.stages[-1].end) == (None, EPOCHS + 1)
    assert [(span.stage, span.start, span.end) for span in second.vacant] == [
        *((EMBARGOED, 22, 27), (RESETTING, 27, 28)),
    ]
    assert third.seeds == ()
    assert view.accuracy[0] == (1, 22.0)
    assert len(view.accuracy) == EPOCHS
    assert (view.host_parameters, view.grown_parameters) == (782, 90)


def test_a_log_of_lifecycle_events_alone_gives_no_picture(events):
    alone = [event for event in events if event.kind.startswith("seed_")]
    with pytest.raises(
        KarnError, match=r"run r has no epoch of a host; train with --telemetry-level normal"
    ):
        growth_view(fold(alone))
    with pytest.raises(KarnError, match="has no epoch"):
        growth_view(RunState())


def test_runs_with_little_to_show_are_drawn(events, run_of):
    first = next(n for n, event in enumerate(events) if event.kind == "epoch_completed")
    for log in (events[: first + 1], run_of(2)):
        ET.fromstring(growth_svg(growth_view(fold(log))))


def test_names_from_a_log_are_escaped(events):
    bad = "</style></text><script>\x1b[2J&\"'"
    changed = []
    for event in events:
        payload = event.payload
        if isinstance(payload, SeedEvent):
            payload = replace(payload, blueprint=bad, slot=bad)
        else:
            first, *others = payload.host.seeds
            host = replace(payload.host, seeds=(replace(first, slot=bad), *others))
            payload = payload.model_copy(update={"host": host})
        changed.append(replace(event, payload=payload))
    text = growth_svg(growth_view(fold(changed)))
    root = ET.fromstring(text)
    assert not list(root.iter(f"{SVG}script"))
    assert text.replace("\n", "").isprintable()
    assert "2J" not in root.findtext(f"{SVG}style")
    shown = [each.text for each in root.iter(f"{SVG}text")]
    assert any(each.startswith("slot </style></text><script>\\x1b[2J") for each in shown)


def test_many_slots_make_the_picture_wider(events):
    view = growth_view(fold(events))
    few, many = (replace(view, slots=view.slots[:1] * count) for count in (3, 7))
    widths = [ET.fromstring(growth_svg(each)).get("viewBox").split()[2] for each in (few, many)]
    assert widths == ["960", "1895"]
    root = ET.fromstring(growth_svg(many))
    boxes = [each for each in root.iter(f"{SVG}rect") if each.get("class") == "vacant"]
    assert min(float(each.get("width")) for each in boxes) > 75


def test_a_long_name_fits_the_box_of_its_seed(events):
    view = growth_view(fold(events))
    slot = view.slots[0]
    (seed,) = slot.seeds
    seed = replace(seed, blueprint="a_blueprint_with_a_very_long_name")
    text = growth_svg(replace(view, slots=(replace(slot, seeds=(seed,)), *view.slots[1:])))
    (shown,) = [
        each
        for each in ET.fromstring(text).iter(f"{SVG}text")
        if each.text == seed.blueprint and "bold" in each.get("class")
    ]
    size = float(shown.get("style").partition("font-size:")[2].partition("px;")[0])
    assert 0 < 0.6 * size * len(seed.blueprint) < 88  # the width of a box with three slots
    short = replace(view, slots=(view.slots[1],) * 3)
    assert "font-size" not in growth_svg(short).partition("</style>")[2]


def test_a_stage_that_ended_in_its_epoch_is_drawn_on_top(events):
    view = growth_view(fold(events))
    slot = view.slots[0]
    (seed,) = slot.seeds
    first, *others = seed.stages
    seed = replace(seed, stages=(replace(first, end=first.start), *others))
    root = ET.fromstring(growth_svg(replace(view, slots=(replace(slot, seeds=(seed,)),))))
    stages = [each for each in root.iter(f"{SVG}g") if each.get("data-stage") is not None]
    assert stages[-1].get("data-stage") == "GERMINATED"
    assert float(stages[-1].find(f"{SVG}rect").get("width")) == 4

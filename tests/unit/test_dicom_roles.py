"""What a series is taken for, by the words of three vendors, by headers, by geometry."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from myoscope.errors import InputError
from myoscope.io.dicom.frames import Facts, Frame
from myoscope.io.dicom.roles import Verdict, is_psir, judge, near_miss
from myoscope.io.dicom.stacks import Group, assemble, by_phase, group
from myoscope.study import Role

FACTS = Facts("1.2", 1, "", "", "9.9", False, False, None, None, ("ORIGINAL", "PRIMARY", "M"))
ACROSS = np.array([0.65, -0.55, -0.52]) / np.linalg.norm([0.65, -0.55, -0.52])


def series(
    number: int,
    words: str = "",
    slices: int = 8,
    phases: int = 1,
    across: np.ndarray = ACROSS,
    mm: float = 8.0,
    component: str = "magnitude",
    phase_ms: float = 40.0,
    **facts: object,
) -> list[Frame]:
    """The frames of an invented series."""
    row = np.cross(across, [0.1, 0.2, 1.0])
    row /= np.linalg.norm(row)
    about = replace(
        FACTS, series_uid=f"1.{number}", series_number=number, description=words, words=words.lower(), **facts
    )
    return [
        Frame(
            path=Path("x"),
            sop_class_uid="1",
            sop_instance_uid=f"1.{number}.{z}.{t}",
            number=None,
            facts=about,
            position_mm=tuple(z * mm * across),
            orientation=(*row, *np.cross(across, row)),
            spacing_mm=(1.4, 1.4),
            shape=(200, 180),
            component=component,
            trigger_ms=t * phase_ms if phases > 1 else None,
            temporal=None,
            instance=z * phases + t + 1,
            taken=f"20260101{100000 + number * 100 + z}",
            slope=1.0,
            intercept=0.0,
            inverted=False,
        )
        for z in range(slices)
        for t in range(phases)
    ]


def judged(*found: list[Frame]) -> dict[int | None, Verdict]:
    groups = group(frame for frames in found for frame in frames)
    return {g.first.facts.series_number: v for g, v in zip(groups, judge(groups), strict=True)}


SAX = series(1, "cine sax", phases=25)
LATE = {"inversion": True, "echo_ms": 1.5}
STIR = {"inversion": True, "spin_echo": True, "echo_ms": 61.0}


@pytest.mark.parametrize(
    ("words", "phases", "facts", "what"),
    [
        # Siemens
        ("cine_retro_sax tf2d15_retro *tfi2d1_15", 25, {}, "short-axis cine"),
        ("de_high-res_psir_sax_PSIR de_psir *tfl2d1", 1, LATE, "LGE PSIR"),
        ("de_high-res_psir_sax_MAG", 1, LATE, "LGE magnitude"),
        ("t2_tirm_sax_db *tir2d1_15", 1, STIR, "T2"),
        ("localizer *tfi2d1_192", 1, {}, "localiser"),
        ("TI_scout_sax", 25, {"inversion": True}, "other"),
        ("T1map_MOLLI_sax_MOCO", 8, {"inversion": True}, "other"),
        ("dynamic_ep2d_sax perfusion", 60, {}, "other"),
        ("fl2d_flow_aorta_venc150", 30, {}, "other"),
        # Philips
        ("sBTFE_BH_SA", 30, {}, "short-axis cine"),
        ("PSIR_TFE_SA", 1, LATE, "LGE PSIR"),
        ("IR_TFE_SA late enhancement", 1, LATE, "LGE magnitude"),
        ("T2W_BB_SPAIR_SA STIR", 1, STIR, "T2"),
        ("SURVEY_BH", 1, {}, "localiser"),
        ("LL_TI_scout", 40, {"inversion": True}, "other"),
        # GE
        ("FIESTA CINE SA", 20, {}, "short-axis cine"),
        ("2D MDE SA", 1, {}, "LGE magnitude"),
        ("PS:2D PSMDE SA phase sensitive", 1, LATE, "LGE PSIR"),
        ("SA TRIPLE IR", 1, {"spin_echo": True, "inversion": True, "echo_ms": 85.0}, "T2"),
        ("3-PL LOC", 1, {}, "localiser"),
        ("FGRE time course first pass", 40, {}, "other"),
        # words that mislead
        ("late template sax", 25, {}, "short-axis cine"),
        ("t1_tse_dark-blood", 1, {"spin_echo": True, "echo_ms": 25.0}, "other"),
        ("dark_blood_psir_sax", 1, LATE, "LGE PSIR"),
        ("no word at all", 1, LATE, "LGE magnitude"),
        ("no word at all", 25, {}, "short-axis cine"),
        ("no word at all", 1, {}, "other"),
        ("trufi_stack", 1, {}, "other"),
    ],
)
def test_contrast(words: str, phases: int, facts: dict, what: str) -> None:
    verdict = judged(SAX, series(7, words, phases=phases, **facts))[7]
    assert verdict.what == what, verdict
    assert verdict.why
    roles = {"short-axis cine": Role.CINE, "LGE PSIR": Role.LGE, "LGE magnitude": Role.LGE, "T2": Role.T2}
    assert verdict.role is roles.get(what)


def test_reasons_are_words() -> None:
    long_axis = series(2, "cine 4ch", slices=1, phases=25, across=turned(90))
    late = series(3, "LGE sax", **LATE)
    verdicts = judged(SAX, long_axis, late)
    assert verdicts[1] == (
        "short-axis cine",
        "25 phases at a place; short axis: the word 'sax', 8 parallel slices, across the long axis of series 2",
        Role.CINE,
    )
    assert verdicts[2].what == "long axis"
    assert "90 degrees from the short axis, the word '4ch'" in verdicts[2].why
    assert verdicts[3] == ("LGE magnitude", "inversion recovery, the word 'lge'; along the short axis", Role.LGE)


def turned(degrees: float) -> np.ndarray:
    aside = np.cross(ACROSS, [0.0, 0.0, 1.0])
    aside /= np.linalg.norm(aside)
    return np.cos(np.radians(degrees)) * ACROSS + np.sin(np.radians(degrees)) * aside


@pytest.mark.parametrize(("degrees", "what"), [(10, "LGE magnitude"), (35, "other"), (80, "long axis")])
def test_a_stack_is_held_against_the_short_axis(degrees: float, what: str) -> None:
    assert judged(SAX, series(5, "viability", across=turned(degrees), **LATE))[5].what == what


def test_geometry_finds_the_short_axis_without_words() -> None:
    transversal = series(2, "cine", slices=12, phases=25, across=np.array([0.0, 0.0, 1.0]))
    oblique = series(3, "cine", slices=9, phases=25)
    long_axes = [series(4 + i, "cine", 1, 25, turned(90 + 5 * i)) for i in range(3)]
    verdicts = judged(transversal, oblique, *long_axes)
    assert [n for n, v in verdicts.items() if v.role is Role.CINE] == [3]
    assert {verdicts[n].what for n in (4, 5, 6)} == {"long axis"}


def test_slices_that_are_series_of_their_own() -> None:
    slices = series(1, "cine", slices=8, phases=5)
    singles = [
        replace(f, facts=replace(f.facts, series_uid=f"1.{f.position_mm}", series_number=50 + i // 5))
        for i, f in enumerate(slices)
    ]
    long_axis = series(3, "cine", 1, 5, turned(90))
    verdicts = judged(singles, long_axis)
    assert {verdicts[n].what for n in range(50, 58)} == {"short-axis cine"}
    stack = assemble(group(singles), cycle=True)
    assert (len(stack.frames), len(stack.frames[0]), len(stack.groups)) == (5, 8, 8)
    assert stack.distance_mm == pytest.approx(8)


def test_a_cine_over_many_seconds_is_none() -> None:
    assert judged(SAX, series(4, "sax", phases=40, phase_ms=900.0))[4].what == "other"


def test_raw_images_perfusion_flow_and_maps_are_no_cine() -> None:
    def each(frames: list[Frame], **values: Callable[[int], object]) -> list[Frame]:
        return [replace(f, **{k: v(i) for k, v in values.items()}) for i, f in enumerate(frames)]

    late, plain = {"inversion": True}, series(3, "sax", phases=9)
    molli = each(
        series(3, "sax", phases=9, **late), trigger_ms=lambda _: 265.0, inversion_ms=lambda i: 100 + i % 9 * 90
    )
    beats = each(plain, trigger_ms=lambda i: 120 + 2.5 * (i % 2), acquired_s=lambda i: 36000 + i % 9 * 0.9)
    stress = each(series(3, "stress sax", phases=9), trigger_ms=lambda _: 120.0)
    velocity = [replace(f, component="phase", sop_instance_uid=f.sop_instance_uid + ".1") for f in plain]
    t1 = each(series(3, "sax", **late), component=lambda _: "map")
    flow = series(3, "sax", phases=9, declared="phase contrast: the header says so")
    for frames, why in (
        (molli, "9 inversion times"),
        (beats, "0.9 s apart"),
        (stress, "the word 'stress'"),
        ([*plain, *velocity], "phase contrast: its phase images are in series 3"),
        (t1, "a quantity"),
        (flow, "phase contrast"),
    ):
        groups = [g for g in group([*SAX, *frames]) if g.first.facts.series_number == 3]
        verdicts = judge([*group(SAX), *groups])[1:]
        assert all(v.role is None for v in verdicts), why
        assert any(why in v.why for v in verdicts), verdicts


def test_trigger_times_that_run_on_over_all_slices() -> None:
    frames = [replace(f, trigger_ms=i * 40.0) for i, f in enumerate(series(1, "sax", phases=25))]
    assert judged(frames)[1].role is Role.CINE


def test_a_transversal_stack_alone_is_no_short_axis() -> None:
    across = np.array([0.05, -0.1, 0.99]) / np.linalg.norm([0.05, -0.1, 0.99])
    for facts in ({"phases": 25}, STIR):
        verdict = judged(series(2, "stack", slices=12, across=across, **facts))[2]
        assert verdict.role is None
        assert "a transversal stack" in verdict.why
    assert judged(series(2, "cine sax", slices=12, phases=25, across=across))[2].role is Role.CINE


def test_two_stacks_across_each_other_without_names() -> None:
    verdicts = judged(series(1, "cine", 8, 25), series(2, "cine", 6, 25, turned(85)))
    assert {v.role for v in verdicts.values()} == {None}
    assert "two stacks lie across each other" in verdicts[1].why
    assert judged(series(1, "cine", 8, 25), series(2, "cine 4ch", 6, 25, turned(85)))[1].role is Role.CINE


def test_images_at_several_echo_times_are_no_cine() -> None:
    echoes = [replace(f, trigger_ms=400.0, echo_ms=2.0 + f.instance % 8) for f in series(6, "gre_me_sax", phases=8)]
    assert judged(SAX, echoes)[6] == Verdict("other", "several echo times at one place: T2*, or fat and water")
    tuned = [replace(f, echo_ms=1.1 + 0.1 * (f.instance % 3)) for f in SAX]
    assert judged(tuned)[1].role is Role.CINE


def test_early_enhancement_is_not_late() -> None:
    assert judged(SAX, series(4, "EGE_sax_TI440", **LATE))[4] == Verdict("other", "the word 'ege'")


def test_a_near_miss_is_told() -> None:
    (g,) = group(series(5, "cine dynamic sax", 8, 25))
    (verdict,) = judge([g])
    assert (verdict.role, near_miss(g, verdict)) == (None, Role.CINE)
    (g,) = group(series(5, "cine_retro_sax", 8, 9, phase_ms=100_000.0))  # trigger times in microseconds
    (verdict,) = judge([g])
    assert (verdict.role, near_miss(g, verdict)) == (None, Role.CINE)
    (g,) = group(series(5, "perfusion sax", 3, 60))
    assert near_miss(g, judge([g])[0]) is None


def test_components() -> None:
    real, phase = (series(n, "ir_tfe_sa", component=c, **LATE) for n, c in ((4, "real"), (5, "phase")))
    assert is_psir(Group(tuple(real)))
    verdicts = judged(SAX, real, phase)
    assert (verdicts[4].what, verdicts[5].what) == ("LGE PSIR", "other")


def test_one_component_of_a_series_is_one_group() -> None:
    both = [*series(4, "PSIR_TFE", **LATE), *series(4, "PSIR_TFE", component="real", **LATE)]
    assert sorted(g.first.component for g in group(both)) == ["magnitude", "real"]


def test_phases_taken_again_are_repeats() -> None:
    frames = series(1, "cine", slices=1, phases=5)
    again = [replace(f, taken="20260101200000", sop_instance_uid=f"{f.sop_instance_uid}.1") for f in frames]
    phases = by_phase([*again, *frames])
    assert [len(repeats) for repeats in phases] == [2] * 5
    assert all(repeats[-1].taken.endswith("200000") for repeats in phases)


def test_the_latest_late_enhancement_of_a_place_wins() -> None:
    frames = series(1, "lge", **LATE)
    again = [replace(f, taken="20260101200000", sop_instance_uid=f"{f.sop_instance_uid}.1") for f in frames[:3]]
    stack = assemble(group([*frames, *again]), cycle=False)
    assert [f.taken.endswith("200000") for f in stack.frames[0]] == [True] * 3 + [False] * 5
    assert ("images_repeated", "3 images were taken again within their series; the later were used.") in stack.notes


def test_stacks_of_two_geometries_are_not_mixed() -> None:
    whole, part = series(1, "lge", **LATE), series(2, "lge", slices=4, mm=10.0, across=turned(5), **LATE)
    stack = assemble(group([*whole, *part]), cycle=False)
    assert {f.facts.series_number for f in stack.frames[0]} == {1}
    message = (
        "One slice of series 2 could not be joined to series 1 (another geometry): volumes and mass may be too small."
    )
    assert stack.notes == (("slices_lost", message),)


def test_slices_in_between_do_not_break_a_stack() -> None:
    whole, between = series(1, "lge", **LATE), series(2, "lge", slices=2, **LATE)
    between = [replace(f, position_mm=tuple(np.array(f.position_mm) + 3 * ACROSS)) for f in between]
    stack = assemble(group([*whole, *between]), cycle=False)
    assert {f.facts.series_number for f in stack.frames[0]} == {1}


def test_two_halves_make_one_stack() -> None:
    low, high = series(1, "cine", slices=5, phases=4), series(2, "cine", slices=5, phases=4)
    high = [replace(f, position_mm=tuple(np.array(f.position_mm) + 40 * ACROSS)) for f in high]
    stack = assemble(group([*high, *low]), cycle=True)
    assert [f.facts.series_number for f in stack.frames[0]] == [1] * 5 + [2] * 5
    assert stack.notes == ()


@pytest.mark.parametrize("lost", [(3,), (3, 4)])
def test_a_gap_is_told(lost: tuple[int, ...]) -> None:
    frames = [f for i, f in enumerate(series(1, "lge", **LATE)) if i not in lost]
    with pytest.raises(InputError, match=rf"found a gap of {8 * (len(lost) + 1)}.0 mm between slices 3 and 4 of"):
        assemble(group(frames), cycle=False)


def test_a_map_whose_header_says_which_is_read_as_one_never_as_an_image() -> None:
    def mapped(number: int, role: Role, **more: object) -> list[Frame]:
        made = series(number, "sax t1 lge", mm=10.0, **more)
        return [replace(f, component="map", quantity=role) for f in made]

    late = series(2, "psir sax", **LATE)
    found = judged(SAX, late, mapped(3, Role.MAP_T1), mapped(4, Role.MAP_ECV, across=np.array([1.0, 0, 0])))
    assert [found[n].role for n in (2, 3, 4)] == [Role.LGE, Role.MAP_T1_POST, None]
    assert judged(mapped(3, Role.MAP_T1))[3].role is None  # alone there is no short axis to place it in


@pytest.mark.parametrize(
    ("words", "number", "told"),
    [  # the LGE is series 5, number and time run together
        ("t1map_native_sax", 3, Role.MAP_T1_NATIVE),
        ("T1 pre Gd MOLLI", 3, Role.MAP_T1_NATIVE),
        ("T1_ohne_KM", 3, Role.MAP_T1_NATIVE),
        ("t1map", 3, Role.MAP_T1),  # before late enhancement, perhaps after the injection
        ("t1map", 7, Role.MAP_T1_POST),
        ("post-gad_t1map", 3, Role.MAP_T1_POST),
        ("T1 15min post contrast", 7, Role.MAP_T1_POST),
        ("t1map_native_sax", 7, Role.MAP_T1),  # after late enhancement: a protocol's name that was kept
        ("t1_native_post", 3, Role.MAP_T1),
        ("t1map_t2prep_posterior", 3, Role.MAP_T1),
    ],
)
def test_native_and_post_contrast_t1_by_names_and_by_late_enhancement(words: str, number: int, told: Role) -> None:
    mapped = [replace(f, component="map", quantity=Role.MAP_T1) for f in series(number, words)]
    assert judged(SAX, series(5, "psir lge sax", **LATE), mapped)[number].role is told


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ((), {3: Role.MAP_T1, 9: Role.MAP_T1}),
        ((9,), {3: Role.MAP_T1_NATIVE, 9: Role.MAP_T1_POST}),
        ((7, 9), {3: Role.MAP_T1_NATIVE, 9: Role.MAP_T1_POST}),
        ((7,), {3: Role.MAP_T1_NATIVE, 9: Role.MAP_T1}),
        ((1, 3, 7, 9), {3: Role.MAP_T1, 9: Role.MAP_T1}),  # entered with the patient
    ],
)
def test_native_and_post_contrast_t1_by_contrast_agent_in_the_headers(
    named: tuple[int, ...], told: dict[int, Role]
) -> None:
    cine = series(1, "cine sax", phases=20, agent=1 in named)
    other = series(7, "scout", agent=7 in named)
    maps = [
        replace(f, component="map", quantity=Role.MAP_T1)
        for n in (3, 9)
        for f in series(n, "t1map_sax", agent=n in named)
    ]
    found = judged(cine, other, maps)
    assert {n: found[n].role for n in (3, 9)} == told

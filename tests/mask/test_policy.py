from dataclasses import replace

import numpy as np
import pytest
from portrait import posed

from fapvideo.config.schema import MaskConfig
from fapvideo.mask.policy import TrackPlan, plan_track
from fapvideo.ops import mesh
from fapvideo.structs import Track

RATE = 25.0


def track(frames=40, lost=(), turned=(), jumps=(), broken=(), first=0):
    """Return a track whose frames `lost`, `turned`, `jumps` or `broken` are poor."""
    landmarks = np.repeat(posed()[None], frames, axis=0)
    for i in turned:
        landmarks[i] = posed(yaw=65)
    presence, jump = np.ones(frames, np.float32), np.zeros(frames, np.float32)
    presence[list(lost)] = 0
    jump[list(jumps)] = 0.9
    landmarks[list(broken), 17, 1] = np.nan
    return Track(3, first, landmarks, presence, jump, mesh.canonical())


def plan(item, fade_in=False, fade_out=False, **config):
    times = np.arange(len(item)) / RATE
    return plan_track(item, MaskConfig(**config), times, fade_in=fade_in, fade_out=fade_out)


def test_a_good_track_is_swapped_throughout():
    for policy in ("fade", "hold", "keep"):
        found = plan(track(), policy=policy)
        assert set(found.state) == {"swapped"}
        assert (found.weight == 1).all()
        assert (found.source == np.arange(40)).all()
        assert set(found.reason) == {""}


@pytest.mark.parametrize(
    ("poor", "reason"),
    [
        ({"lost": [20]}, "not_measured"),
        ({"turned": [20]}, "profile"),
        ({"jumps": [20]}, "jumps"),
        ({"broken": [20]}, "numeric"),
    ],
)
def test_each_kind_of_poor_frame_is_left_and_named(poor, reason):
    found = plan(track(**poor), policy="keep")
    assert [i for i, state in enumerate(found.state) if state != "swapped"] == [20]
    assert found.state[20] == "left"
    assert found.reason[20] == reason
    assert found.weight[20] == 0


def test_what_hides_a_face_hides_it_in_part_before_and_after():
    """Unsure frames belong to the stretch that they touch; elsewhere they count as measured."""
    item = track(lost=[20, 21])
    item.presence[[5, 18, 19, 22, 24]] = 0.9
    found = plan(item, policy="keep")
    assert [i for i, reason in enumerate(found.reason) if reason] == [18, 19, 20, 21, 22]
    assert set(found.reason[18:23]) == {"not_measured"}


def test_limits_are_the_presets():
    turned = track(turned=range(40))
    assert set(plan(turned, policy="keep").state) == {"left"}
    assert set(plan(turned, policy="keep", max_yaw_deg=70).state) == {"swapped"}
    jumping = track(jumps=range(40))
    assert set(plan(jumping, policy="keep", max_jump=1.0).state) == {"swapped"}


def test_fading_starts_ahead_of_the_poor_frames():
    """0.2 s at 25 fps: five frames fade before the gap and five after, by equal steps."""
    found = plan(track(lost=[19, 20]), policy="fade", fade_s=0.2)
    assert (found.weight[19:21] == 0).all()
    np.testing.assert_allclose(found.weight[14:19], np.arange(5, 0, -1) / 6, atol=1e-6)
    np.testing.assert_allclose(found.weight[21:26], np.arange(1, 6) / 6, atol=1e-6)
    assert (found.weight[:14] == 1).all()
    assert (found.weight[26:] == 1).all()
    assert found.state[13:20] == ("swapped", *["faded"] * 5, "left")
    assert set(found.reason[14:19]) == {"beside"}


def test_the_opacity_never_leaps():
    poor = [0, 7, 20, 21, 30, 39]
    for policy in ("fade", "hold"):
        for fade_in in (False, True):
            found = plan(track(lost=poor), policy=policy, fade_in=fade_in, fade_out=fade_in,
                         hold_s=0.04)  # fmt: skip
            assert np.abs(np.diff(found.weight)).max() <= 1 / 6 + 1e-6


def test_keep_switches_at_once():
    found = plan(track(lost=[20]), policy="keep")
    assert found.weight[[19, 20, 21]].tolist() == [1, 0, 1]


def test_no_fade_where_a_shot_begins_or_ends():
    """A cut is hard; a face that walks in or out is faded."""
    hard = plan(track())
    assert hard.weight[0] == hard.weight[-1] == 1
    soft = plan(track(), fade_in=True, fade_out=True)
    np.testing.assert_allclose(soft.weight[:5], np.arange(1, 6) / 6, atol=1e-6)
    np.testing.assert_allclose(soft.weight[-5:], np.arange(5, 0, -1) / 6, atol=1e-6)
    only_in = plan(track(), fade_in=True)
    assert only_in.weight[0] < 1 == only_in.weight[-1]


def test_a_fade_without_length_is_a_switch():
    found = plan(track(lost=[20]), policy="fade", fade_s=0.0)
    assert found.weight[20] == 0
    assert found.weight[18] == found.weight[22] == 1


def test_a_short_gap_is_held_on_the_last_good_geometry():
    found = plan(track(lost=[18, 19, 20]), policy="hold", hold_s=0.12)
    assert found.state[17:22] == ("swapped", "held", "held", "held", "swapped")
    assert found.source[16:22].tolist() == [16, 17, 17, 17, 17, 21]
    assert (found.weight == 1).all()
    assert found.reason[18] == "not_measured"


def test_a_longer_gap_is_faded_instead():
    found = plan(track(lost=range(18, 22)), policy="hold", hold_s=0.12)
    assert set(found.state[18:22]) == {"left"}
    assert found.state[17] == found.state[22] == "faded"
    assert (found.source == np.arange(40)).all()


def test_nothing_is_held_before_the_first_or_after_the_last_good_frame():
    found = plan(track(lost=[0, 39]), policy="hold", hold_s=1.0)
    assert found.state[0] == found.state[39] == "left"
    assert (found.source == np.arange(40)).all()


def test_a_track_without_any_good_frame():
    for policy in ("fade", "hold", "keep"):
        found = plan(track(lost=range(40)), policy=policy)
        assert set(found.state) == {"left"}
        assert not found.weight.any()


def test_a_track_of_one_frame():
    assert plan(track(1)).state == ("swapped",)
    assert plan(track(1), fade_in=True, fade_out=True).state == ("faded",)
    assert plan(track(1, lost=[0])).state == ("left",)


def test_numbers_that_are_not_finite_are_never_painted():
    """Of one frame, of what was measured about it, or of the shape that all its guides need."""
    good = track()
    spoilt = {
        "landmarks": np.where(np.arange(40)[:, None, None] == 7, np.inf, good.landmarks),
        "presence": np.where(np.arange(40) == 7, np.nan, good.presence),
        "jump": np.where(np.arange(40) == 7, np.nan, good.jump),
    }
    for name, values in spoilt.items():
        for policy in ("fade", "hold", "keep"):
            found = plan(replace(good, **{name: values}), policy=policy)
            assert found.reason[7] == "numeric"
            assert found.source[7] == 6 if policy == "hold" else found.weight[7] == 0
            assert np.isfinite(found.weight).all()
    neutral = replace(good, neutral=np.full_like(good.neutral, np.nan))
    assert set(plan(neutral, policy="hold").reason) == {"numeric"}
    assert not plan(neutral, policy="hold").weight.any()


def test_a_reason_in_other_words_is_refused():
    with pytest.raises(ValueError, match="face lost"):
        TrackPlan(np.zeros(1), np.zeros(1, np.int64), ("left",), ("face lost",))


def test_fades_and_gaps_are_as_long_as_they_say_where_frames_come_unevenly():
    """Seconds of presentation time: the second half shows half as many frames."""
    times = np.cumsum([0.0] + [0.04] * 19 + [0.08] * 20)
    item = track(lost=[8, 32])

    def planned(**config):
        return plan_track(item, MaskConfig(**config), times, fade_in=False, fade_out=False)

    faded = np.array(planned(policy="fade", fade_s=0.2).state) == "faded"
    assert times[8] - times[:20][faded[:20]].min() == pytest.approx(0.2, abs=0.041)
    assert times[32] - times[20:][faded[20:]].min() == pytest.approx(0.2, abs=0.081)
    assert faded[20:].sum() < faded[:20].sum()
    held = np.array(planned(policy="hold", hold_s=0.03).state) == "held"
    assert held[[8, 32]].tolist() == [True, False]

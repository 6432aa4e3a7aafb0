#!/usr/bin/env python3
"""The ear beside spandsp, and the guard: `./bench audio` calls it. Prints Markdown tables, writes a chart.

audio.py TOOLS EXAMPLES WORK CHART.svg

TOOLS is the directory of the corpus generator, the scorer and spandsp's driver; EXAMPLES has dtmf_file and
guard_file; WORK keeps the material for the next run. Environment: AUDIO_SEED moves every seed of the corpus
(default 777; 0 leaves them as the tools have them), AUDIO_MINUTES of speech per voice (default 1, 114 voices).
"""
import glob, json, os, re, runpy, statistics, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

TOOLS, EXAMPLES, WORK, CHART = sys.argv[1:5]  # or corpus SEED TOOLS … when it calls itself
SEED, MINUTES = int(os.environ.get("AUDIO_SEED", "777")), os.environ.get("AUDIO_MINUTES", "1")
CORPUS, SPEECH = f"{WORK}/corpus{SEED}", f"{WORK}/speech"
OURS, THEIRS, GUARD = f"{EXAMPLES}/dtmf_file", f"{WORK}/spandsp_drv", f"{EXAMPLES}/guard_file"
PEERS = {"spandsp": THEIRS, "Hushpad": OURS}
POOL = ThreadPoolExecutor(os.cpu_count())


def told(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout


def material():
    if not os.path.exists(THEIRS):
        subprocess.run(["cc", "-O2", "-o", THEIRS, f"{TOOLS}/spandsp_drv.c", "-lspandsp", "-lm"], check=True)
    if not glob.glob(f"{SPEECH}/*.s16"):
        subprocess.run(["bash", f"{TOOLS}/speech.sh", SPEECH, MINUTES], check=True, stdout=subprocess.DEVNULL)
    if not os.path.exists(f"{CORPUS}/done"):
        speech = sorted(glob.glob(f"{SPEECH}/*.s16"))[SEED % 50]
        own = [sys.executable, __file__, "corpus", str(SEED), TOOLS, CORPUS, speech]
        subprocess.run(own, check=True, stdout=subprocess.DEVNULL)
        open(f"{CORPUS}/done", "w").close()


def generate(seed, tools, corpus, speech):
    import numpy
    real = numpy.random.default_rng
    if seed:
        numpy.random.default_rng = lambda own=None: real([seed, own + 100_000])
    sys.argv = ["gen.py", corpus, "--speech", speech]
    runpy.run_path(f"{tools}/gen.py", run_name="__main__")


def scores():
    run = lambda detector: told(sys.executable, f"{TOOLS}/score.py", CORPUS, "--", detector)
    lines = {name: POOL.submit(run, detector) for name, detector in PEERS.items()}
    read = lambda text: {line.split()[0]: json.loads(line.split(None, 1)[1]) for line in text.splitlines()}
    return {name: read(future.result()) for name, future in lines.items()}


def rows(score):
    got = lambda test: score[test]["detected_%"]
    several = lambda form, keys: " / ".join(f"{got(form.format(key)):g}" for key in keys) + " %"
    span = lambda pair, unit: f"{pair[0]:g}…{pair[1]:+g} {unit}"
    frequency, length = score["t2_freq"], score["t5_duration"]
    gap, latency = score["t6_gap"], score["t10_latency"]["declare_ms"]
    return [
        ("decode linear / µ / A", several("t1_decode_{}", ["lin", "pcmu", "pcma"])),
        ("frequency deviation at 100 %", span(frequency["100%_range_%"], "%")),
        ("frequency deviation at all", span(frequency["any_range_%"], "%")),
        ("twist at 100 %", span(score["t3_twist"]["100%_range_dB(high-low)"], "dB")),
        ("level per tone", span(score["t4_level"]["100%_range_dBm0"], "dBm0")),
        ("tone length: never below / always from", f"{length['0%_up_to_ms']} / {length['100%_from_ms']} ms"),
        ("gap always from", f"{gap['100%_from_ms']:g} ms"),
        ("splits a digit on a 10 ms gap in it", f"{gap['two_digits_%_by_gap_ms']['10']:g} %"),
        ("white noise at 10 / 8 / 6 / 4 dB", several("t7_snr_+{}", ["10", "08", "06", "04"])),
        ("dial tone at −10 / −8 / −6 dB", several("t8_dial_-{}", ["10", "08", "06"])),
        ("20 ms packets lost, 1 / 3 / 5 / 10 %", several("t9_loss_{}", ["01", "03", "05", "10"])),
        ("speech over tones at 0 / 3 / 6 / 10 / 15 dB", several("t11_speech_{}", ["00", "03", "06", "10", "15"])),
        ("declared after onset p50 / p99", f"{latency['p50']:g} / {latency['p99']:g} ms"),
    ]


def false_keys(detector):
    files = glob.glob(f"{SPEECH}/*.s16")
    count = lambda path: sum(line.startswith("on") for line in told(detector, path).splitlines())
    hours = sum(os.path.getsize(path) for path in files) / 2 / 8000 / 3600
    return sum(POOL.map(count, files)), hours


def speeds():
    """µs per 20 ms packet: one run of each after the other, the middle of seven."""
    voice = sorted(glob.glob(f"{SPEECH}/*.s16"))[40]
    for what, path in [("speech", voice), ("tones", f"{CORPUS}/t10_latency.s16"), ("tones in noise", f"{CORPUS}/t7_snr_+10.s16")]:
        times = {name: [] for name in PEERS}
        for _ in range(7):
            for name, detector in PEERS.items():
                times[name].append(float(re.search(r"([\d.]+) us per", told(detector, "-b", "12", path)).group(1)))
        yield what, {name: statistics.median(values) for name, values in times.items()}


def guard(title, options, tests):
    leak = lambda path: told(GUARD, *options, path)
    files = [path for test in tests for path in sorted(glob.glob(f"{CORPUS}/{test}.s16"))]
    form = r"; (\d+) presses, (\d+) leak, (\d+) ms at most, (\d+) ms in all; loudest rest ([-\d.]+) dBm0; delay (\d+)"
    found = [re.search(form, text).groups() for text in POOL.map(leak, files)]
    presses, leaking, total = (sum(int(one[index]) for one in found) for index in (0, 1, 3))
    most, delay = max(int(one[2]) for one in found), max(int(one[5]) for one in found)
    rest = max(float(one[4]) for one in found)
    print(f"| {title} | {presses} | {leaking} | {most} | {total} | {rest:.0f} | {delay} |", flush=True)


def silenced():
    files = glob.glob(f"{SPEECH}/*.s16")
    shares = POOL.map(lambda path: float(re.search(r"= ([\d.]+) %", told(GUARD, path)).group(1)), files)
    return statistics.mean(shares)


def read_by_others(tests):
    """Keys that other decoders find in what left toward the agent."""
    found = {"spandsp": 0, "multimon-ng": 0}
    for test in tests:
        out = f"{WORK}/out.s16"
        told(GUARD, "-o", out, f"{CORPUS}/{test}.s16")
        found["spandsp"] += told(THEIRS, out).count("on ")
        raw = ["-t", "raw", "-r", "8000", "-e", "signed", "-b", "16", "-c", "1", out, "-t", "raw", "-r", "22050", f"{out}.22"]
        told("sox", "-q", *raw)
        found["multimon-ng"] += told("multimon-ng", "-q", "-a", "DTMF", "-t", "raw", f"{out}.22").count("DTMF:")
    return found


def chart(score, speed):
    tests = [("noise 8 dB", "t7_snr_+08"), ("noise 6 dB", "t7_snr_+06"), ("noise 4 dB", "t7_snr_+04"),
             ("dial tone −6 dB", "t8_dial_-06"), ("10 % lost", "t9_loss_10"),
             ("speech 6 dB", "t11_speech_06"), ("speech 3 dB", "t11_speech_03"), ("speech 0 dB", "t11_speech_00")]
    bars = [(label, {name: score[name][test]["detected_%"] for name in PEERS}, "%", 100) for label, test in tests]
    most = max(max(times.values()) for times in speed.values())
    bars += [(f"CPU, {what}", times, "µs", most) for what, times in speed.items()]
    colours, height = {"spandsp": "#9aa5b1", "Hushpad": "#2563a8"}, 36 * len(bars) + 40
    text = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {height}" font-family="sans-serif" font-size="12">',
            '<title>Keys heard of those sent, and CPU time per 20 ms packet: spandsp and Hushpad</title>',
            f'<rect width="640" height="{height}" fill="#fff"/>']
    for place, name in enumerate(PEERS):
        text.append(f'<rect x="{150 + place * 100}" y="10" width="12" height="12" fill="{colours[name]}"/>'
                    f'<text x="{167 + place * 100}" y="20">{name}</text>')
    for row, (label, values, unit, full) in enumerate(bars):
        top = 36 + row * 36
        text.append(f'<text x="140" y="{top + 18}" text-anchor="end">{label}</text>')
        for place, (name, value) in enumerate(values.items()):
            width = 400 * value / full
            shown = f"{value:.2f}" if unit == "µs" else f"{value:.1f}"
            text.append(f'<rect x="150" y="{top + place * 14}" width="{width:.1f}" height="12" fill="{colours[name]}"/>'
                        f'<text x="{155 + width:.1f}" y="{top + 10 + place * 14}" font-size="11">{shown} {unit}</text>')
    with open(CHART, "w") as file:
        file.write("\n".join(text + ["</svg>"]) + "\n")


def main():
    os.makedirs(WORK, exist_ok=True)
    material()
    score = scores()
    print(f"\nThe detector; seed {SEED}\n\n| condition | spandsp | Hushpad |\n| --- | --- | --- |")
    for (condition, theirs), (_, ours) in zip(rows(score["spandsp"]), rows(score["Hushpad"])):
        print(f"| {condition} | {theirs} | {ours} |")
    (theirs, hours), (ours, _) = false_keys(THEIRS), false_keys(OURS)
    print(f"| false keys in {hours:.1f} h of speech | {theirs} | {ours} |")
    speed = dict(speeds())
    for what, times in speed.items():
        ratio = times["spandsp"] / times["Hushpad"]
        print(f"| CPU per 20 ms packet, {what} | {times['spandsp']:.2f} µs | {times['Hushpad']:.2f} µs ({ratio:.1f} × as fast) |")
    clean = ["t1_*", "t2_*", "t3_*", "t4_*", "t5_*", "t6_*", "t10_*"]
    print("\nThe guard; µ-law, 20 ms packets\n\n| | presses | leaking | ms at most | ms in all | rest dBm0 | delay ms |\n| --- | --- | --- | --- | --- | --- | --- |")
    guard("in-band: decode, frequency, twist, level, length, gap", [], clean)
    guard("events with 30 ms of tone before them", ["-e", "30"], ["t1_*", "t10_*"])
    guard("events and tones at once", ["-e", "all"], ["t1_*", "t10_*"])
    guard("noise, 2 dB and more", [], ["t7_snr_+0[2468]", "t7_snr_+[12]*"])
    guard("dial tone up to +2 dB", [], ["t8_dial_-*", "t8_dial_+0[02]"])
    guard("dial tone at +4 / +6 dB", [], ["t8_dial_+0[46]"])
    guard("packets lost, 1 to 10 %", [], ["t9_*"])
    guard("speech at 6 dB and more", [], ["t11_speech_06", "t11_speech_[12]*"])
    for look_back in ["40", "60", "80", "120"]:
        guard(f"speech at 0 and 3 dB, look-back {look_back} ms", ["-l", look_back], ["t11_speech_0[03]"])
    print(f"\nSpeech silenced: {silenced():.3f} %. Keys that others read on the agent's side:",
          read_by_others(["t1_decode_pcmu", "t3_twist", "t4_level", "t10_latency", "t9_loss_05"]))
    chart(score, speed)


if sys.argv[1] == "corpus":
    generate(int(sys.argv[2]), *sys.argv[3:6])
else:
    main()

"""The programs of the audit: what each is, how it logs, and which answer to its slow phases is right. Written before any result was seen.

A place is `file.py:function`, or `file.py:Class.method` where the same method name occurs more than once in that file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from tests.support.plain import Stretch

FOLDER = Path(__file__).parent
QUIET = "{python} {name}.py > {logs}/{name}/train.log"
BUFFERED = "{python} -u {name}.py 2>&1 | tee {logs}/{name}/train.log"
WATCHED = "{python} -m deepseek.app run --no-dashboard --quiet --log-dir {logs} --name {name} -- {python} {name}.py"
ARGUMENT = "{python} {name}.py {logs}/{name}"

Set: TypeAlias = Literal["fit", "held_out", "acceptance", "fresh"]
Right: TypeAlias = Literal["line", "others", "gc", "healthy"]


class Row(NamedTuple):
    name: str
    kind: str
    log: str
    steps: bool
    culprits: tuple[str, ...] = ()  # right, as are their accepted direct callers and a second cause
    callers: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    outer: tuple[
        str, ...
    ] = ()  # own functions on the way to it: an answer that names them is vague, as are `main` and `<module>`
    factors: tuple[float, ...] = (2.5, 4.0, 1.8)  # of the slow phases
    right: Right = "line"  # or: other programs take the cores, garbage collection, nothing is ever slow
    command: str = ARGUMENT
    from_start: bool = False  # slow before its first line, and for the first phase
    neighbours: int = 0  # programs that run beside it in slow phases
    second_run: str = ""  # the name of its run, where that is another one

    @property
    def run_name(self) -> str:
        return self.second_run or self.name

    @property
    def accepted(self) -> tuple[str, ...]:
        return self.culprits + self.callers + self.second


PROGRAMS = (
    Row(
        "tabular_churn",
        "pandas features of a batch",
        "print 'epoch 0 step 10 loss', every 10th",
        True,
        ("churn_features.py:rolling_features",),
        ("tabular_churn.py:make_batch",),
        outer=("train_epoch",),
        command=BUFFERED,
    ),
    Row(
        "gan_rings",
        "two optimizers, gradient penalty",
        "print 'D 0.1 G 0.2'",
        False,
        ("gan_rings.py:Gan.gradient_penalty",),
        ("gan_rings.py:Gan.critic_round",),
        factors=(2.0, 3.0, 1.6),
        command=QUIET,
    ),
    Row(
        "diffusion_toy",
        "sampling every 40 steps",
        "JSONL untimed",
        True,
        ("diffusion_toy.py:sample",),
        ("diffusion_toy.py:denoise_once", "diffusion_toy.py:main", "diffusion_toy.py:Denoiser.forward"),
        factors=(3.0, 5.0, 2.0),
    ),
    Row(
        "rag_indexer",
        "embedding and near duplicates, no training",
        "logging '12:00:00,000 INFO indexer: 10 documents'",
        False,
        ("rag_indexer.py:NearDuplicates.signature",),
        ("rag_indexer.py:NearDuplicates.is_new",),
        outer=("main",),
        command=QUIET.replace(">", "2>"),
    ),
    Row(
        "speech_augment",
        "augmentation by scipy",
        "CSV timed",
        True,
        ("speech_augment.py:Augment.add_reverb",),
        ("speech_augment.py:Augment.__call__",),
        outer=("make_batch",),
        factors=(2.0, 3.5, 1.5),
    ),
    Row(
        "bpe_trainer",
        "training of a tokenizer, no torch",
        "print \"merged 'a' and 'b'\"",
        False,
        ("bpe_trainer.py:BpeTrainer.count_pairs",),
        ("bpe_trainer.py:BpeTrainer.best_merge",),
        factors=(2.0, 3.0, 1.6),
        command=QUIET,
    ),
    Row(
        "speculative",
        "speculative decoding, guesses are refused",
        "nothing (`run --`)",
        False,
        ("speculative.py:Decoder.target_tokens", "speculative.py:Gru.forward"),
        ("speculative.py:Decoder.accept",),
        outer=("generate",),
        factors=(2.0, 3.0, 1.6),
        command=WATCHED,
        second_run="speculative-2",  # the folder is there already
    ),
    Row(
        "graph_sage",
        "neighbour sampling of a graph",
        "JSONL timed",
        True,
        ("graph_sage.py:Sampler.sample_neighbours",),
        ("graph_sage.py:Sampler.layer",),
    ),
    Row(
        "kmeans_np",
        "numpy at one line",
        "print 'inertia 1.5'",
        False,
        ("kmeans_np.py:assign",),
        ("kmeans_np.py:run",),
        factors=(2.0, 4.0, 1.5),
        command=QUIET,
    ),
    Row(
        "photo_worker",
        "resizing in a loader's workers",
        "logging '[date] step=5 loss=', every 5th",
        True,
        ("photo_worker.py:resize",),
        ("photo_worker.py:Photos.prepare",),
        outer=("__iter__",),
        command=QUIET.replace(">", "2>"),
    ),
    Row(
        "sqlite_cache",
        "feature cache in SQLite",
        "JSONL timed (`timestamp`, `global_step`)",
        True,
        ("feature_store.py:FeatureStore.lookup",),
        ("feature_store.py:FeatureStore.fetch",),
    ),
    Row(
        "slow_disk",
        "checkpoint to a slow disk, a wait, every 25 steps",
        "tqdm only",
        True,
        ("slow_disk.py:Copier.write_block", "slow_disk.py:Copier.send"),
        ("slow_disk.py:save",),
        factors=(2.5, 4.0, 1.8),
        command=QUIET.replace(">", "2>"),
    ),
    Row(
        "sk_metrics",
        "metrics by scikit-learn every 20 steps",
        "TensorBoard",
        True,
        ("sk_metrics.py:Evaluation.separation", "sk_metrics.py:Evaluation.precision"),
        ("sk_metrics.py:main",),
        factors=(2.0, 4.0, 3.0),
    ),
    Row(
        "varint_records",
        "generators that parse a binary format",
        "print '[train] iter 20 | loss', every 20th",
        True,
        ("wire.py:read_varint", "wire.py:read_packed"),
        ("wire.py:read_record",),
        outer=("parsed", "long_enough", "batched"),
        command=QUIET,
    ),
    Row(
        "socket_service",
        "a service in another process behind a socket",
        "print 'loss: 0.1'",
        False,
        ("socket_service.py:SearchClient.search", "socket_service.py:receive", "socket_service.py:receive_exactly"),
        ("socket_service.py:hints_for", "socket_service.py:serve"),
        command=QUIET,
    ),
    Row(
        "rich_logs",
        "tables in a mixed log",
        "logging '12:00:00.000 | INFO | [epoch 0 | it 2/120] loss=', with colours and tables",
        True,
        ("report_table.py:histogram", "report_table.py:format_table"),
        ("rich_logs.py:Regression.report",),
        command=QUIET,
    ),
    Row(
        "inner_search",
        "a search by a Parzen estimator, trials as units",
        "print 'Trial 3 finished with value: 0.1'",
        True,
        ("parzen.py:Parzen.density",),
        ("parzen.py:Parzen.suggest",),
        outer=("refine",),
        command=QUIET,
    ),
    Row(
        "grid_policy",
        "reinforcement learning in a numpy world",
        "JSONL timed (`episode`, `wall_time`)",
        True,
        ("grid_policy.py:Maze.line_of_sight",),
        ("grid_policy.py:Maze.look",),
        outer=("play", "reset", "step"),
    ),
    Row(
        "ema_report",
        "two causes at once: averages of weights, ranks of layers",
        "JSONL timed (`t`)",
        True,
        ("shadow.py:Shadow.follow",),
        ("shadow.py:Shadows.update_shadows",),
        second=("ema_report.py:effective_ranks",),
    ),
    Row(
        "grad_accum",
        "gradient accumulation; closures, partial, decorator",
        "CSV with ISO stamps",
        True,
        ("grad_accum.py:make_loss.<locals>.weigh_tokens",),
        ("grad_accum.py:make_loss.<locals>.token_loss",),
        outer=("accumulate", "wrapped"),
    ),
    Row(
        "long_windows",
        "a curriculum with growing sequences, creeping",
        "JSONL timed",
        True,
        ("long_windows.py:LocalAttention.attend_blocks",),
        ("long_windows.py:LocalAttention.forward",),
        outer=("train_one", "forward"),
    ),
    Row(
        "expression_trees",
        "deep recursion",
        "print 'mean loss 0.1'",
        False,
        ("expression_trees.py:TreeNet.encode",),
        ("expression_trees.py:TreeNet.forward",),
        factors=(2.0, 3.0, 1.6),
        command=QUIET,
    ),
    Row(
        "image_ops",
        "a hierarchy of classes whose methods have one name",
        "JSONL untimed (`iteration`)",
        True,
        ("operations.py:Blur.apply",),
        ("operations.py:SoftBlur.apply",),
        outer=("apply", "__call__", "batch", "run"),
        factors=(2.5, 4.0, 2.0),
    ),
    Row(
        "lazy_samples",
        "properties, `__getitem__`, `__array__`; slow from the start",
        "CSV untimed",
        True,
        ("samples.py:Series.autocorrelation",),
        ("samples.py:Series.__array__",),
        outer=("__getitem__", "fit"),
        from_start=True,
    ),
    Row(
        "side_thread",
        "a thread of statistics that holds the GIL",
        "print 'loss 0.1'",
        False,
        ("watcher.py:Watcher.summarize",),
        ("watcher.py:Watcher.run",),
        factors=(2.0, 3.0, 2.5),
        command=QUIET,
    ),
    Row(
        "shell_convert",
        "programs started and waited for",
        "logging 'INFO:convert:loss='",
        False,
        ("shell_convert.py:convert",),
        ("shell_convert.py:load_batch",),
        command=QUIET.replace(">", "2>"),
    ),
    Row(
        "blob_pipeline",
        "lzma, hashlib, re, json in one pipeline, no torch",
        "print '100 kept'",
        False,
        ("blob_pipeline.py:fingerprint",),
        ("blob_pipeline.py:Pipeline.handle",),
        outer=("run",),
        command=QUIET,
    ),
    Row(
        "crowded",
        "other programs take the cores",
        "JSONL timed",
        True,
        right="others",
        neighbours=4,
        factors=(2.0, 2.0, 2.0),
    ),
    Row(
        "async_judge",
        "coroutines, one judges in Python",
        "print '[12] reward=0.1'",
        True,
        ("judging.py:common_runs", "judging.py:judge"),
        ("async_judge.py:score",),
        outer=("rollout", "collect", "train"),
        command=QUIET,
    ),
    Row(
        "healthy_lm",
        "nothing wrong; lengths vary, a validation now and then",
        "print 'step 10: train loss 1.5', every 10th",
        True,
        right="healthy",
        command=QUIET,
    ),
)


ACCEPTANCE = (
    Row(
        "lit_segment",
        "Lightning, a callback traces contours",
        "Lightning's CSVLogger",
        True,
        ("lit_segment.py:ContourCallback.trace",),
        ("lit_segment.py:ContourCallback.on_train_batch_end",),
        factors=(2.5, 4.0),
    ),
    Row(
        "trainer_callback",
        "transformers.Trainer, a callback looks for repetition",
        "Trainer's own print \"{'loss': 1.5, 'epoch': 0.1}\", every 20th",
        False,
        ("trainer_callback.py:longest_repeat",),
        ("trainer_callback.py:RepetitionWatch.on_step_end",),
        factors=(4.0, 2.0),
        command=QUIET,
    ),
    Row(
        "accel_weights",
        "accelerate, distance transforms by scipy in the data set",
        "tqdm only",
        True,
        ("accel_weights.py:border_weights",),
        ("accel_weights.py:CellData.__iter__",),
        outer=("run",),
        factors=(2.0, 4.0),
        command=QUIET.replace(">", "2>"),
    ),
    Row(
        "forest_oof",
        "random forests, target encoding by pandas, no torch",
        "print 'AUC so far: 0.5'",
        False,
        ("forest_oof.py:encode_targets",),
        ("forest_oof.py:one_round",),
        factors=(3.0, 5.0),
        command=QUIET,
    ),
    Row(
        "boosted",
        "LightGBM with a metric in Python, no torch",
        "LightGBM's own '[10] train's ndcg20: 0.5'",
        True,
        ("boosted.py:ndcg_at",),
        factors=(2.0, 3.5),
        command=QUIET,
    ),
    Row(
        "cells_notebook",
        "cells of a notebook as a module-level script",
        "print '0.1234'",
        False,
        ("cells_notebook.py:neighboursOf",),
        ("cells_notebook.py:pairsFor",),
        factors=(3.0, 2.0),
        command=QUIET,
    ),
    Row(
        "nerf_rays",
        "rendering, samples drawn ray by ray",
        "JSONL untimed (`iter`)",
        True,
        ("nerf_rays.py:Renderer.importance",),
        ("nerf_rays.py:Renderer.render",),
        factors=(2.5, 4.0),
    ),
    Row(
        "mixin_trainer",
        "a trainer of mixins, statistics of gradients",
        "CSV timed ('2026-01-01 12:00:00.5', `iteration`)",
        True,
        ("mixin_trainer.py:GradStatsMixin.third_moment",),
        ("mixin_trainer.py:GradStatsMixin.grad_skew",),
        outer=("before_step", "fit"),
        factors=(2.0, 4.0),
    ),
    Row(
        "metric_state",
        "a metric of torchmetrics that keeps too much",
        "TensorBoard",
        True,
        ("metric_state.py:KendallTau.compute",),
        ("metric_state.py:train",),
        factors=(2.0, 3.0),
    ),
    Row(
        "feeder_thread",
        "a thread that renders what is trained on",
        "JSONL timed (`ts`, `n_step`)",
        True,
        ("feeder_thread.py:Scene.render",),
        ("feeder_thread.py:Feeder.make",),
        outer=("run",),
        factors=(2.5, 4.0),
    ),
    Row(
        "pool_imap",
        "multiprocessing.Pool computes features",
        "print 'it=10 mae=0.1', every 10th",
        True,
        ("pool_imap.py:angle_histogram",),
        ("pool_imap.py:featurize",),
        outer=("get",),
        factors=(2.5, 4.0),
        command=QUIET,
    ),
    Row(
        "contrastive_knn",
        "nearest neighbours vote every 15 steps",
        "RunLog with phases",
        True,
        ("contrastive_knn.py:KnnProbe.vote",),
        ("contrastive_knn.py:KnnProbe.accuracy",),
        factors=(3.0, 2.0),
    ),
    Row(
        "population",
        "population-based training, states are copied and pickled",
        "print 'gen 3: best -0.1'",
        True,
        ("population.py:Population.snapshot",),
        ("population.py:Population.exploit",),
        outer=("generation",),
        factors=(2.0, 3.5),
        command=QUIET,
    ),
    Row(
        "selfplay",
        "tree search in Python objects",
        "logging '2026-01-01 12:00:00,000 123 policy loss 0.1'",
        False,
        ("selfplay.py:Board.winner", "selfplay.py:Tree.rollout"),
        ("selfplay.py:Tree.search",),
        outer=("game",),
        factors=(2.0, 4.0),
        command=QUIET,
    ),
    Row(
        "backtest_rows",
        "iterrows of pandas, no torch",
        "print 'sharpe 0.1'",
        False,
        ("backtest_rows.py:simulate",),
        ("backtest_rows.py:main",),
        factors=(2.5, 4.0),
        command=QUIET,
    ),
    Row(
        "heat_pinn",
        "L-BFGS with a closure, a search for neighbours in it",
        "print 'residual=1e-3'",
        False,
        ("heat_pinn.py:Mesh.stencil",),
        ("heat_pinn.py:Mesh.neighbours",),
        outer=("residual", "closure"),
        factors=(3.0, 2.0),
        command=QUIET,
    ),
    Row(
        "shampoo",
        "an optimizer of one's own, more Newton iterations",
        "a text log '12:00:00 it 10 train_loss 0.1'",
        True,
        ("shampoo.py:Shampoo.inverse_root",),
        ("shampoo.py:Shampoo.step",),
        factors=(2.5, 4.0),
    ),
    Row(
        "noisy_neighbour",
        "other programs take the cores, no steps",
        "print 'perplexity 1.5'",
        False,
        right="others",
        neighbours=4,
        factors=(2.0, 2.0),
        command=QUIET,
    ),
    Row(
        "steady_loss",
        "nothing wrong; evaluates and saves at regular times",
        "print 'loss 0.1', 'accuracy 0.5 saved 1 bytes'",
        False,
        right="healthy",
        factors=(1.0, 1.0),
        command=QUIET,
    ),
    Row(
        "kept_objects",
        "objects with cycles that are kept for long",
        "JSONL timed",
        True,
        ("kept_objects.py:Journal.note",),
        ("kept_objects.py:main",),
        right="gc",
        factors=(2.0, 4.0),
    ),
)

FRESH = (
    Row(
        "ctc_lines",
        "lines of text, a beam search in Python every 5 steps",
        "JSONL timed",
        True,
        ("ctc_lines.py:beam_search", "ctc_lines.py:log_add"),
        ("ctc_lines.py:character_errors",),
        factors=(2.0, 4.0),
    ),
    Row(
        "guarded_text",
        "generate of transformers with a logits processor of one's own",
        "CSV untimed",
        True,
        ("guarded_text.py:PhraseGuard.completes",),
        ("guarded_text.py:PhraseGuard.__call__",),
        factors=(2.5, 4.0),
    ),
    Row(
        "hook_stats",
        "forward hooks take quantiles of activations",
        "TensorBoard",
        True,
        ("hook_stats.py:robust_range",),
        ("hook_stats.py:attach_probes.<locals>.make.<locals>.hook",),
        factors=(2.0, 3.5),
    ),
    Row(
        "beat_warp",
        "time warping in a collate function that is a closure",
        "logging '2026-01-01 12:00:00,000 INFO iter 5 | loss 0.1', every 5th",
        True,
        ("beat_warp.py:warp_path",),
        ("beat_warp.py:make_collate.<locals>.onto_template",),
        outer=("collate",),
        factors=(2.0, 3.0),
        command=QUIET.replace(">", "2>"),
    ),
    Row(
        "lag_smoother",
        "a particle filter in numpy, module-level code, no torch",
        "print 'rmse 0.1  bias +0.1'",
        False,
        ("lag_smoother.py:trace_back",),
        factors=(2.5, 4.0),
        command=QUIET,
    ),
    Row(
        "bpr_negatives",
        "rows of a sparse matrix by scipy, recommendations",
        "logging '[2026-01-01 12:00:00,000] bpr: loss=0.1'",
        False,
        ("bpr_negatives.py:NegativeSampler.taken_nearby",),
        ("bpr_negatives.py:NegativeSampler.draw",),
        outer=("train_batch",),
        factors=(2.0, 4.0),
        command=QUIET.replace(">", "2>"),
    ),
    Row(
        "priority_replay",
        "prioritized replay that fills up, n-step returns",
        "print 'return 50.0 (greedy 60), epsilon 0.05'",
        False,
        ("priority_replay.py:Replay.look_ahead",),
        ("priority_replay.py:Replay.sample",),
        outer=("learn",),
        factors=(2.5, 4.0),
        command=QUIET,
    ),
    Row(
        "label_retries",
        "active learning, sleeps before calls are tried again",
        "print 'accuracy 0.9, entropy 0.1, loss 0.1'",
        False,
        ("label_retries.py:Backoff.pause",),
        ("label_retries.py:retrying.<locals>.decorate.<locals>.call",),
        outer=("query",),
        factors=(2.0, 4.0),
        command=QUIET,
    ),
)

# Every second program is held out, by the hash of its name: decided when only the names were known.
NAMES = [row.name for row in PROGRAMS]
HELD_OUT = frozenset(sorted(NAMES, key=lambda name: hashlib.sha256(name.encode()).digest())[1::2])

ROWS = {row.name: row for row in (*PROGRAMS, *ACCEPTANCE, *FRESH)}


def set_of(name: str) -> Set:
    if any(row.name == name for row in ACCEPTANCE):
        return "acceptance"
    if any(row.name == name for row in FRESH):
        return "fresh"
    return "held_out" if name in HELD_OUT else "fit"


def folder_of(name: str) -> Path:
    return FOLDER / ("acceptance" if set_of(name) in ("acceptance", "fresh") else "programs")


def plan_of(row: Row) -> list[Stretch]:
    """In seconds since its first units: 77 s with three slow phases, 68 s with two; a healthy program has phases that are not slow."""
    lengths = (16.0, 9.0, 12.0, 8.0, 12.0, 10.0, 10.0) if len(row.factors) > 2 else (18.0, 11.0, 14.0, 12.0, 13.0)
    found: list[Stretch] = []
    for turn, seconds in enumerate(lengths[1:] if row.from_start else lengths, start=int(row.from_start)):
        since_s = found[-1][1] if found else 0.0
        slow = turn % 2 == 1 and row.right != "healthy"
        found.append((since_s, since_s + seconds, row.factors[turn // 2] if slow else 1.0))
    return found

"""Installs teacherlm_jax: `pip install .`, or `pip install -e '.[test]'` to work on it.

Lower bounds are the oldest versions that tests have run on; upper bounds stand where the next
release is known, or likely, to break something, with the reason beside them.
"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "teacherlm_jax" / "__init__.py").read_text(), re.MULTILINE
).group(1)

# JAX, Flax, Optax and Orbax change APIs between minor releases: raise a bound with the tests.
JAX = "jax>=0.10.2,<0.11"
CORE = [
    JAX,
    "flax>=0.12.8,<0.13",
    "optax>=0.2.8,<0.3",
    "orbax-checkpoint>=0.12.8,<0.13",
    "absl-py>=2.4",
    "etils[epath,epy]>=1.15",
    "gin-config>=0.5.0,<0.6",
    "jinja2>=3.1",
    "matplotlib>=3.10",
    "numpy>=2.2",
    "pyarrow>=20",
    "tqdm>=4.67",
]
# seqio imports clu and array-record itself.
DATA = [
    "array-record>=0.8.6",
    "clu>=0.0.12",
    # MinHash. Its 2.0 changed the permutations, which decide what is a duplicate. It needs numpy
    # and SciPy, which JAX brings along.
    "datasketch>=2.0,<3",
    "grain>=0.2.18",
    # TFDS 4.9.10 asks for it below Python 3.9 alone, and prepares nothing without it.
    "importlib_resources>=6.0",
    # Its 0.2.3 holds protobuf code that needs protobuf >= 7.36, while Beam and XManager hold
    # protobuf at 6: `import seqio` would die in an environment that pip calls consistent.
    "sentencepiece>=0.2.2,<0.2.3",
    "seqio>=0.0.20",
    # TensorFlow stopped bringing TensorBoard along; seqio's TensorBoardLogger needs it.
    "tensorboard>=2.21",
    "tensorflow>=2.21",
    "tensorflow-datasets>=4.9.10",
]
GCS = ["etils[epath-gcs]>=1.15"]  # gs:// paths without TensorFlow's file system
# It moves what the model and the tests build on between minor releases. Its own extra `hf` would
# bring torch; of that the package needs nothing.
LM_EVAL = "lm-eval>=0.4.13,<0.5"
EXTRAS = {
    # Formatters and type checkers change their mind between minor releases.
    "test": [
        *GCS,
        "mypy>=2.4.1,<2.5",
        "pytest>=9.0,<10",
        "pytest-xdist>=3.8,<4",
        "ruff>=0.17.6,<0.18",
        # What `hf` reads, and whose reference it is compared with. The package never needs torch or
        # transformers; torch has one version so that pip need not look at others, of 1 GB each.
        "safetensors>=0.7",
        "tokenizers>=0.22",
        "torch==2.13.0",
        "transformers>=5.23,<6",
        # Whose scores ours are compared with; its model `hf` imports accelerate.
        LM_EVAL,
        "accelerate>=1.15",
    ],
    # The libtpu of jax 0.10.2. A newer one compiles, but cannot print what it compiled for v5p
    # and v6e. Both lines move together.
    "tpu": [*GCS, JAX.replace("jax", "jax[tpu]"), "libtpu==0.0.42.*"],
    "gcs": GCS,
    # Tokenizers of public checkpoints. Their weights need nothing, and torch least of all.
    "hf": ["tokenizers>=0.22"],
    # The model `teacherlm` of lm-evaluation-harness.
    "lm-eval": [LM_EVAL, "tokenizers>=0.22"],
    "launch": ["xmanager>=0.8.5"],
    # seqio's offline cache job.
    "cache": ["apache-beam>=2.77", "google-crc32c>=1.7"],
    # What T5X needs from the index. T5X itself is not there: CONTRIBUTING.md has the command.
    "t5x": ["cached_property>=2.0", "fiddle>=0.3", "jaxtyping>=0.3"],
}

setuptools.setup(
    name="teacherlm_jax",
    version=VERSION,
    description="TeacherLM in JAX: train small language models to explain, and teach others.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["teacherlm_jax", "teacherlm_jax.*"]),
    package_data={
        "teacherlm_jax": [
            "gin_configs/*.gin",
            "gin_configs/**/*.gin",
            "data/*.jinja",
            "scoring/*.jinja",
            "students/*.jinja",
        ]
    },
    install_requires=CORE + DATA,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["teacherlm=teacherlm_jax.main.command_line:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)

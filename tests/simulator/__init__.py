"""A reference for the planner's memory: the engine's real step on tensors without content, counted.

One case and the table of what was live at its peak::

    .venv/bin/python -m tests.simulator --model llama-3-8b --set checkpointed=32 --passes 1024,1024

In a test::

    from tests.simulator.cases import Case
    from tests.simulator.run import simulate

    simulated = simulate(Case("llama-3-8b", checkpointed=32, passes=((2048,), (2048,))))
    simulated.peak_bytes, simulated.static, simulated.facts
    print(simulated.report())
"""

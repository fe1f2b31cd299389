"""Wishes, sizes and acts of a resize, for its tables: each act has the time at which it would happen."""

from decider_cases import answered, asked, refused

from gateway.core.wishes import Resize

CYCLE = Resize(cpu_cores=4, ram_mb=4096, may_stop=True, wait_seconds=60)
FORCE = CYCLE.model_copy(update={"force": True})
UNSAID = CYCLE.model_copy(update={"force": None})
STORE = Resize(cpu_cores=4)
STAY_OFF = CYCLE.model_copy(update={"restart": False})
NEW = {"cores": 4, "ram_mb": 4096}

CHANGE = answered("change", 1.0, "set_size")
CHANGE_LOST = asked("change", 1.0, "set_size")
CHANGE_REFUSED = refused("change", 1.0, "set_size")
STOP, STOP_LOST = answered("stop", 2.0, "poweroff"), asked("stop", 2.0, "poweroff")
CUT, CUT_LOST = answered("stop_hard", 63.0, "kill"), asked("stop_hard", 63.0, "kill")
CHANGE_OFF = answered("change_off", 20.0, "set_size")
CHANGE_OFF_LOST = asked("change_off", 20.0, "set_size")
START, START_LOST = answered("start", 30.0, "poweron"), asked("start", 30.0, "poweron")
BACK, BACK_LOST = answered("put_back", 100.0, "set_size"), asked("put_back", 100.0, "set_size")
AGAIN, AGAIN_LOST = answered("start_again", 110.0, "poweron"), asked("start_again", 110.0, "poweron")

"""Few-shot exemplars that several tasks share. Written for this project; none comes from a data set.

Each rationale stops before the sentence that states the answer: the prompt adds it, in the judge's words.
"""

from __future__ import annotations

from understudy.types import Exemplar

WORD_PROBLEMS = (
    Exemplar(
        "A bakery puts 6 rolls in each bag. It filled 9 bags and has 4 rolls left over. "
        "How many rolls did it bake?",
        "The 9 bags hold 9 * 6 = 54 rolls. With the 4 left over, the bakery baked 54 + 4 = 58 rolls.",
        "58",
    ),
    Exemplar(
        "Nora had 35 stickers. She gave 8 to her brother and lost 3. How many stickers does she have left?",
        "Nora gave away or lost 8 + 3 = 11 stickers. That leaves 35 - 11 = 24 stickers.",
        "24",
    ),
    Exemplar(
        "A tank holds 240 liters. A pump empties 15 liters each minute. "
        "How many minutes does it take to empty half of the tank?",
        "Half of the tank is 240 / 2 = 120 liters. At 15 liters a minute that takes 120 / 15 = 8 minutes.",
        "8",
    ),
    Exemplar(
        "Tickets cost $12 for adults and $7 for children. How much do 2 adults and 5 children pay together?",
        "The adults pay 2 * 12 = 24 dollars. The children pay 5 * 7 = 35 dollars. "
        "Together they pay 24 + 35 = 59 dollars.",
        "59",
    ),
    Exemplar(
        "Omar reads 18 pages a day. Lena reads twice as many. How many pages do both read in 5 days?",
        "Lena reads 18 * 2 = 36 pages a day. Together they read 18 + 36 = 54 pages a day. "
        "In 5 days that is 54 * 5 = 270 pages.",
        "270",
    ),
    Exemplar(
        "There were 26 birds on a roof. Some flew away, and 17 were left. How many birds flew away?",
        "There were 26 birds and 17 stayed, so 26 - 17 = 9 birds flew away.",
        "9",
    ),
    Exemplar(
        "A coat costs $80. In a sale its price falls by 25%. What does the coat cost in the sale?",
        "25% of 80 dollars is 80 * 0.25 = 20 dollars. In the sale the coat costs 80 - 20 = 60 dollars.",
        "60",
    ),
    Exemplar(
        "Mia cuts a ribbon of 4.5 meters into pieces of 0.5 meters. She uses 6 pieces. How many are left?",
        "The ribbon gives 4.5 / 0.5 = 9 pieces. After using 6 of them, 9 - 6 = 3 pieces are left.",
        "3",
    ),
)

SCIENCE = (
    Exemplar(
        "A puddle on the street is gone after a sunny day. What happened to the water?",
        "The sun warmed the puddle. Warm liquid water turns into vapor that mixes with the air. "
        "This change is called evaporation.",
        "C",
        ("It froze.", "It became soil.", "It evaporated.", "It condensed."),
    ),
    Exemplar(
        "Which of these is the best conductor of electricity?",
        "Electricity flows well through metals. Wood, glass and rubber are insulators; copper is a metal.",
        "B",
        ("a wooden spoon", "a copper wire", "a glass rod", "a rubber band"),
    ),
    Exemplar(
        "What do the roots of a plant mainly do?",
        "Leaves make food and flowers make seeds. Roots grow into the soil, where they hold the plant and "
        "take up water and minerals.",
        "A",
        ("take up water", "make seeds", "catch sunlight", "attract bees"),
    ),
    Exemplar(
        "Why do we see the Moon at night?",
        "The Moon is made of rock and does not glow by itself. Light from the Sun falls on it and bounces "
        "to our eyes.",
        "D",
        ("It burns gas.", "It is hot.", "It reflects light from Earth's cities.", "It reflects sunlight."),
    ),
    Exemplar(
        "A rabbit population grows quickly for a year. Which animals nearby will most likely increase next?",
        "When there are more rabbits, the animals that eat rabbits find more food. Foxes hunt rabbits, while "
        "deer, bees and worms do not.",
        "B",
        ("deer", "foxes", "bees", "worms"),
    ),
    Exemplar(
        "Which tool would a student use to find the mass of a stone?",
        "Mass is measured with a balance. A ruler measures length, a thermometer temperature and a "
        "stopwatch time.",
        "D",
        ("a ruler", "a thermometer", "a stopwatch", "a balance"),
    ),
    Exemplar(
        "Rubbing your hands together makes them warm because of",
        "When two surfaces slide over each other they resist the motion. That resistance is friction, and it "
        "turns motion into heat.",
        "A",
        ("friction", "gravity", "magnetism", "evaporation"),
    ),
)

"""Given names and family names for the generated symbolic tasks, from many places, each once."""

from __future__ import annotations

FIRST = tuple(
    """
    Aaron Abby Ada Adam Adele Agnes Aisha Alan Albert Alex Alice Alma Amara Amir Amy Andre Angela Anita Anna
    Anton Arjun Arthur Aylin Barry Beatrice Bella Boris Brenda Brian Bruno Carla Carlos Carmen Cecil Celia
    Chad Chloe Clara Claude Colin Connor Cyrus Daisy Dalia Daniel Daria David Deborah Derek Diana Diego Dora
    Doris Dylan Edgar Edith Edward Elena Elias Ella Elsa Emil Emma Enzo Eric Erin Esther Ethan Evelyn Fabian
    Farah Felix Fiona Flora Frank Freya Gabriel Gavin George Gerald Gloria Grace Greta Gustav Hana Hannah
    Harold Harry Hassan Hazel Heidi Helen Henry Hilda Holly Howard Ian Ibrahim Imani Ines Ingrid Irene Isaac
    Isabel Ivan Ivy Jack Jacob James Jana Jasper Javier Jean Jenny Jerome Jesse Joan Joel Jonas Jorge Joseph
    Joy Juan Judith Julia Karen Karl Kate Keith Kenji Kevin Klara Kofi Lara Laura Leah Lena Liam Linda
    Lionel Lola Louis Lucas Lucy Luna Lydia Mabel Malik Marco Maria Mark Martha Martin Maya Meera Megan
    Milan Mira Mona Moses Nadia Nancy Naomi Nathan Neil Nina Noah Nora Olga Oliver Olivia Omar Oscar Otto
    Owen Pablo Paula Peter Philip Priya Quentin Rachel Rafael Ralph Ramona Rebecca Rita Robert Rosa Ruth
    Samuel Sandra Sara Simon Sofia Stella Steven Tamar Teresa Thomas Tina Tomas Uma Vera Victor Vivian
    Walter Wendy William Yara Yusuf Zara Zoe
    """.split()  # noqa: SIM905 - as a list these would be two hundred lines
)

LAST = tuple(
    """
    Abbott Acosta Adler Ahmed Albright Alvarez Amato Andersen Archer Arnold Ashby Atkins Bailey Baker
    Banerjee Barker Barnes Barton Becker Bell Bennett Berger Bishop Blake Bloom Boyd Bradley Brandt Brennan
    Brooks Brown Bryant Burke Burton Byrne Cabrera Calder Campbell Cannon Carlson Carter Castro Chambers
    Chan Chavez Chen Clark Clayton Cohen Coleman Collins Conway Cooper Costa Cox Crane Cruz Curtis Dalton
    Daniels Davies Dawson Delgado Dixon Doyle Drake Duarte Duncan Dunn Eaton Ekberg Elliott Ellis Engel
    Erikson Espinoza Evans Farrell Fernandez Ferrari Fields Fischer Fisher Fleming Fletcher Flynn Forbes
    Foster Fowler Fox Franco Fraser Freeman Fuentes Fuller Garcia Gardner Garner Gibson Gill Glover Gomez
    Goodwin Graham Grant Gray Greene Griffin Gupta Hall Hansen Harding Harper Harris Hart Hayes Henderson
    Herrera Hoffman Holland Holt Howell Hughes Hunter Ibarra Ingram Irving Ivanov Jackson Jansen Jensen
    Johnson Jordan Kane Kapoor Keller Kelly Kennedy Khan Kim Klein Knight Kowalski Kumar Lambert Larsen
    Lawson Lee Leonard Lewis Lindgren Lopez Lowe Lynch Maddox Malone Marsh Mason Matsuda Mendoza Meyer
    Miller Mishra Moore Morales Moreau Morgan Mueller Murphy Murray Nakamura Nash Navarro Nelson Newton
    Nguyen Nolan Norris Novak Oakley Obrien Ochoa Okafor Olsen Ortega Osborne Owens Palmer Park Parker Patel
    Pearson Perez Petrov Porter Powell Quinn Ramirez Reed Reyes Rhodes Rivera Roberts Romano Rossi Russo
    Sanders Santos Sato Schmidt Schultz Shah Sharma Silva Singh Snyder Stone Suzuki Tanaka Taylor Torres
    Turner Ueda Vance Vargas Walker Wallace Watts Weber Weiss Wong Wright Yamada Young Zhang Ziegler
    """.split()  # noqa: SIM905 - as a list these would be two hundred lines
)

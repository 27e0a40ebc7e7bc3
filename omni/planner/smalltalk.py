"""Requests that need no tool: the model simply talks. The class "none" of the router.

They cover what people say to an assistant that has no tool for it: greetings, thanks, feelings,
opinions, general knowledge, language, ideas, and remarks about the conversation itself.
"""

NO_TOOL_EXAMPLES: tuple[str, ...] = tuple(
    line.strip()
    for line in """
    hello
    hi there
    how are you doing
    nice to meet you
    good evening
    bye, see you later
    thank you very much
    great, you are a star
    okay cool
    yes
    no
    that's fine
    never mind
    what is your name
    what can you do
    are you a robot
    who made you
    do you have feelings
    I am so tired
    I feel lonely
    I had a wonderful day
    I'm nervous about my exam
    I am bored
    tell me something funny
    tell me a story about a dragon
    do you know a riddle
    sing me a song
    make up a limerick
    write a birthday greeting for my aunt
    help me word a polite refusal
    why do leaves turn red
    how do airplanes fly
    what causes earthquakes
    who was Napoleon
    who invented the telephone
    when did the second world war end
    which is the largest planet
    where do penguins live
    what is a black hole
    what is gravity
    what does inflation mean
    how does a vaccine work
    what is machine learning
    how many legs does a spider have
    what is the word for bread in Italian
    what does serendipity mean
    how do you spell necessary
    what is another word for happy
    is a tomato a fruit or a vegetable
    what goes well with rice
    how do I bake sourdough bread
    give me some tips for sleeping better
    suggest a name for my cat
    any ideas for a weekend trip
    recommend a good book
    how do I get rid of hiccups
    what should I wear to a wedding
    what is your opinion on modern art
    is coffee bad for you
    do you like music
    should I learn piano or guitar
    what did you just say
    speak louder please
    that was too complicated, put it simply
    go on
    what do you mean
    that is not what I meant
    stop talking
    shorter please
    are you sure about that
    """.strip().splitlines()
)
